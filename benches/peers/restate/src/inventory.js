import * as restate from "@restatedev/restate-sdk";
import { sql } from "./database.js";

// Restate can run a handler again after a crash, so each of these is idempotent.

export async function reserve({ order_id, product_id, quantity }) {
  const taken = await sql`
    WITH taken AS (
      UPDATE inventory SET stock = stock - ${quantity}, reserved = reserved + ${quantity}
      WHERE product_id = ${product_id} AND stock >= ${quantity}
        AND NOT EXISTS (SELECT FROM reservations WHERE order_id = ${order_id})
      RETURNING product_id)
    INSERT INTO reservations (order_id, product_id, quantity, state)
    SELECT ${order_id}, product_id, ${quantity}, 'HELD' FROM taken RETURNING state`;
  if (taken.length === 1) return;

  const [earlier] = await sql`SELECT state FROM reservations WHERE order_id = ${order_id}`;
  if (earlier?.state === "HELD") return;
  const [product] = await sql`SELECT stock FROM inventory WHERE product_id = ${product_id}`;
  if (!product) throw new restate.TerminalError("unknown-product", { errorCode: 422 });
  throw new restate.TerminalError("insufficient-stock", { errorCode: 409 });
}

export async function release({ order_id }) {
  await sql`
    WITH released AS (
      INSERT INTO reservations (order_id, state) VALUES (${order_id}, 'RELEASED')
      ON CONFLICT (order_id) DO UPDATE SET state = 'RELEASED' WHERE reservations.state = 'HELD'
      RETURNING product_id, quantity)
    UPDATE inventory
    SET stock = stock + released.quantity, reserved = reserved - released.quantity
    FROM released WHERE inventory.product_id = released.product_id`;
}

export const inventory = restate.service({
  name: "inventory",
  handlers: {
    reserve: (_ctx, request) => reserve(request),
    release: (_ctx, request) => release(request),
  },
});
