import * as restate from "@restatedev/restate-sdk";
import { sql } from "./database.js";

const successRate = Number(process.env.PAYMENT_SUCCESS_RATE);

/** The first outcome that was stored for the order stands. */
export async function charge({ order_id }) {
  const outcome = Math.random() < successRate ? "SUCCESS" : "FAILED";
  let [payment] = await sql`
    INSERT INTO payments (order_id, status) VALUES (${order_id}, ${outcome})
    ON CONFLICT (order_id) DO NOTHING RETURNING status`;
  if (!payment) [payment] = await sql`SELECT status FROM payments WHERE order_id = ${order_id}`;
  if (payment.status !== "SUCCESS") {
    throw new restate.TerminalError("payment-declined", { errorCode: 402 });
  }
}

export const payments = restate.service({
  name: "payments",
  handlers: { charge: (_ctx, request) => charge(request) },
});
