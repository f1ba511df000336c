import { DBOS } from "@dbos-inc/dbos-sdk";
import { sql } from "./database.js";
import { release, reserve } from "./inventory.js";
import { charge } from "./payments.js";
import { step } from "./step.js";

/** Returns null if the order is confirmed, else why it failed. The workflow's id is the order's. */
export const placeOrder = DBOS.registerWorkflow(
  async (productId, quantity) => {
    const id = DBOS.workflowID;
    await create(id, productId, quantity);
    let reason = await reserve(id, productId, quantity);
    if (!reason && (await charge(id)) !== "SUCCESS") reason = "payment-declined";
    if (reason) await release(id);
    await finish(id, reason ? "FAILED" : "CONFIRMED");
    return reason;
  },
  { name: "placeOrder" },
);

const create = step("create", async (id, productId, quantity) => {
  await sql`
    INSERT INTO orders (id, product_id, quantity) VALUES (${id}, ${productId}, ${quantity})
    ON CONFLICT (id) DO NOTHING`;
});

const finish = step("finish", async (id, status) => {
  await sql`UPDATE orders SET status = ${status}, updated_at = now() WHERE id = ${id}`;
});
