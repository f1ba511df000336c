import * as restate from "@restatedev/restate-sdk";
import { sql } from "./database.js";
import { inventory, release, reserve } from "./inventory.js";
import { charge, payments } from "./payments.js";

// Two ways to reach stock and payment: calls of other services, or steps of the order's journal.
const calls = (ctx) => ({
  reserve: (request) => ctx.serviceClient(inventory).reserve(request),
  release: (request) => ctx.serviceClient(inventory).release(request),
  charge: (request) => ctx.serviceClient(payments).charge(request),
});
const steps = (ctx) => ({
  reserve: (request) => ctx.run("reserve", () => reserve(request)),
  release: (request) => ctx.run("release", () => release(request)),
  charge: (request) => ctx.run("charge", () => charge(request)),
});
const dependencies = process.env.STEPS === "1" ? steps : calls;

/** A saga: a terminal error of a later step undoes the steps before it. */
async function place(ctx, request) {
  const { product_id, quantity } = validated(request);
  const { reserve, release, charge } = dependencies(ctx);
  const order_id = ctx.rand.uuidv4();
  await ctx.run("create", () => create(order_id, product_id, quantity));

  const compensations = [];
  try {
    compensations.push(() => release({ order_id }));
    await reserve({ order_id, product_id, quantity });
    await charge({ order_id });
  } catch (error) {
    if (!(error instanceof restate.TerminalError)) throw error;
    for (const compensate of compensations.reverse()) await compensate();
    await ctx.run("fail", () => finish(order_id, "FAILED"));
    throw error;
  }
  await ctx.run("confirm", () => finish(order_id, "CONFIRMED"));
  return { id: order_id, product_id, quantity, status: "CONFIRMED" };
}

export const orders = restate.service({ name: "orders", handlers: { place } });

async function create(id, product_id, quantity) {
  await sql`
    INSERT INTO orders (id, product_id, quantity) VALUES (${id}, ${product_id}, ${quantity})
    ON CONFLICT (id) DO NOTHING`;
}

async function finish(id, status) {
  await sql`UPDATE orders SET status = ${status}, updated_at = now() WHERE id = ${id}`;
}

function validated({ product_id, quantity } = {}) {
  if (typeof product_id !== "string" || product_id.length < 1 || product_id.length > 255) {
    throw new restate.TerminalError("product_id: 1 to 255 characters", { errorCode: 400 });
  }
  if (!Number.isInteger(quantity) || quantity < 1 || quantity > 1000) {
    throw new restate.TerminalError("quantity: 1 to 1000", { errorCode: 400 });
  }
  return { product_id, quantity };
}
