// One process: DBOS is a library, and the workflow, its steps and the HTTP server share it.
import { DBOS } from "@dbos-inc/dbos-sdk";
import Fastify from "fastify";
import { placeOrder } from "./orders.js";

const STATUS = { "payment-declined": 402, "insufficient-stock": 409, "unknown-product": 422 };

const body = {
  type: "object",
  required: ["product_id", "quantity"],
  properties: {
    product_id: { type: "string", minLength: 1, maxLength: 255 },
    quantity: { type: "integer", minimum: 1, maximum: 1000 },
  },
};

const server = Fastify();

server.post("/orders", { schema: { body } }, async (request, reply) => {
  const { product_id, quantity } = request.body;
  const workflow = await DBOS.startWorkflow(placeOrder)(product_id, quantity);
  const reason = await workflow.getResult();
  reply.code(reason ? STATUS[reason] : 201);
  return {
    id: workflow.workflowID,
    product_id,
    quantity,
    status: reason ? "FAILED" : "CONFIRMED",
    failure_reason: reason,
  };
});

server.get("/readyz", async () => ({ status: "ready" }));

DBOS.setConfig({
  name: "order",
  // Without a fixed version, DBOS derives one from the code, and recovers only its own version.
  applicationVersion: "1",
  systemDatabaseUrl: process.env.DATABASE_URL,
  systemDatabasePoolSize: 16,
});
// It also recovers the workflows that a killed process left.
await DBOS.launch();
await server.listen({ port: Number(process.env.PORT), host: "127.0.0.1" });

process.once("SIGTERM", async () => {
  await server.close();
  await DBOS.shutdown();
  process.exit(0);
});
