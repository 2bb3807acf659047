/**
 * An order service. Its API creates a task for each order, and its worker runs the steps of the tasks.
 *
 * - `api`: the HTTP API;
 * - `steps`: the handlers of the steps in `templates/order.yaml`.
 *
 * Both run in this process. It needs Tasker's server and its database: see `process-compose.yaml`.
 */

import { serve } from "@hono/node-server";
import { Client, Worker } from "@tasker-systems/tasker";

import { createApi } from "./api.js";
import { steps } from "./steps.js";

const { TASKER_ORCHESTRATION_URL, TASKER_API_KEY, HOST = "127.0.0.1", PORT = "3000" } = process.env;

// The address of the database is in DATABASE_URL.
const worker = new Worker({ templates: "templates", steps });
await worker.start();

const api = createApi(new Client(TASKER_ORCHESTRATION_URL, { apiKey: TASKER_API_KEY }));
const server = serve({ fetch: api.fetch, hostname: HOST, port: Number(PORT) }, () => {
  console.info(`the API listens on ${HOST}:${PORT}`);
});

for (const signal of ["SIGTERM", "SIGINT"]) {
  // Both finish what they have begun.
  process.once(signal, () => {
    server.close();
    void worker.stop();
  });
}
