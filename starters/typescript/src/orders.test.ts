/** Sends orders to the API on a real stack: `tasker-cli dev` runs a private PostgreSQL and Tasker's server. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";

import { Client, Worker } from "@tasker-systems/tasker";
import { run } from "@tasker-systems/tasker/testing";
import type { Hono } from "hono";

import { createApi } from "./api.js";
import { checkStock, steps } from "./steps.js";

/** What `tasker-cli dev --json` prints once everything runs. */
interface Addresses {
  orchestration_url: string;
  database_url: string;
}

// With a database in DATABASE_URL, it would use that one. PostgreSQL stops and its data is removed, however it ends.
const tasker = spawn("tasker-cli", ["dev", "--temporary", "--no-worker", "--port", "0", "--json"], {
  env: { ...process.env, DATABASE_URL: "" },
  stdio: ["ignore", "pipe", "inherit"],
});
let worker: Worker | undefined;
let api: Hono;

before(async () => {
  let output = "";
  for await (const chunk of tasker.stdout) {
    output += String(chunk);
    if (output.includes("\n}")) {
      break;
    }
  }
  const addresses = JSON.parse(output) as Addresses;
  worker = new Worker({ templates: "templates", steps, databaseUrl: addresses.database_url, port: 0 });
  await worker.start();
  api = createApi(new Client(addresses.orchestration_url));
});

after(async () => {
  await worker?.stop();
  tasker.kill();
  await once(tasker, "exit");
});

async function order(body: object): Promise<[status: number, body: any]> {
  const response = await api.request("/orders?wait=30", { method: "POST", body: JSON.stringify(body) });
  return [response.status, await response.json()];
}

test("totals", async () => {
  assert.deepEqual(await run(checkStock, { input: { item: "tea", quantity: 3 } }), { total_cents: 1_350 });
  await assert.rejects(run(checkStock, { input: { item: "gold", quantity: 1 } }), { kind: "unknown_item" });
});

test("an order is charged and shipped", async () => {
  const [status, created] = await order({ item: "tea", quantity: 3 });
  assert.deepEqual([status, created.status], [201, "completed"], JSON.stringify(created));
  assert.equal(created.steps.charge.result.amount_cents, 1_350);
  assert.equal(created.steps.ship.result.tracking_number, `${created.id}/ship`);

  const shown = await api.request(`/orders/${created.id}`);
  assert.deepEqual(await shown.json(), created);
});

test("bad orders are refused or wait for an operator", async () => {
  const [status, problem] = await order({ item: "tea", quantity: 0 });
  assert.deepEqual([status, problem.errors?.[0].pointer], [422, "/quantity"], JSON.stringify(problem));

  // Nothing is charged. `tasker-cli task list --status blocked_by_failures` shows such tasks.
  const [, blocked] = await order({ item: "gold", quantity: 1 });
  assert.deepEqual([blocked.status, blocked.steps.charge.status], ["blocked_by_failures", "pending"]);
});
