import { sql } from "./database.js";
import { step } from "./step.js";

const successRate = Number(process.env.PAYMENT_SUCCESS_RATE);

/** Returns SUCCESS or FAILED: the first outcome that was stored for the order. */
export const charge = step("charge", async (orderId) => {
  const outcome = Math.random() < successRate ? "SUCCESS" : "FAILED";
  let [payment] = await sql`
    INSERT INTO payments (order_id, status) VALUES (${orderId}, ${outcome})
    ON CONFLICT (order_id) DO NOTHING RETURNING status`;
  if (!payment) [payment] = await sql`SELECT status FROM payments WHERE order_id = ${orderId}`;
  return payment.status;
});
