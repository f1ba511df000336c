import { sql } from "./database.js";
import { step } from "./step.js";

/** Returns null if the stock is held, else why it is not. */
export const reserve = step("reserve", async (orderId, productId, quantity) => {
  const taken = await sql`
    WITH taken AS (
      UPDATE inventory SET stock = stock - ${quantity}, reserved = reserved + ${quantity}
      WHERE product_id = ${productId} AND stock >= ${quantity}
        AND NOT EXISTS (SELECT FROM reservations WHERE order_id = ${orderId})
      RETURNING product_id)
    INSERT INTO reservations (order_id, product_id, quantity, state)
    SELECT ${orderId}, product_id, ${quantity}, 'HELD' FROM taken RETURNING state`;
  if (taken.length === 1) return null;

  const [earlier] = await sql`SELECT state FROM reservations WHERE order_id = ${orderId}`;
  if (earlier?.state === "HELD") return null;
  const [product] = await sql`SELECT stock FROM inventory WHERE product_id = ${productId}`;
  return product ? "insufficient-stock" : "unknown-product";
});

export const release = step("release", async (orderId) => {
  await sql`
    WITH released AS (
      INSERT INTO reservations (order_id, state) VALUES (${orderId}, 'RELEASED')
      ON CONFLICT (order_id) DO UPDATE SET state = 'RELEASED' WHERE reservations.state = 'HELD'
      RETURNING product_id, quantity)
    UPDATE inventory
    SET stock = stock + released.quantity, reserved = reserved - released.quantity
    FROM released WHERE inventory.product_id = released.product_id`;
});
