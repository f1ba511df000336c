import { DBOS } from "@dbos-inc/dbos-sdk";

const RETRIES = { retriesAllowed: true, maxAttempts: 10, intervalSeconds: 0.1 };

/** A step of a workflow. A crash can make it run twice, so `run` must be idempotent. */
export function step(name, run) {
  return (...args) => DBOS.runStep(() => run(...args), { name, ...RETRIES });
}
