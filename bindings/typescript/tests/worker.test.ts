/** The worker against a real server. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";

import {
  PermanentError,
  RetryableError,
  type Step,
  StartError,
  step,
  UnhealthyError,
  Wait,
  Worker,
} from "@tasker-systems/tasker";
import { z } from "zod";

import { client, DATABASE, DEADLINE_MS, errorOf, Namespace, SILENT, stepOf, wait } from "./support.js";

void test("handlers receive what their schemas return", async () => {
  const namespace = new Namespace({ validate: {}, pay: { dependencies: ["validate"] } });
  const Order = z.object({ number: z.number(), at: z.iso.datetime().transform((text) => new Date(text)) });
  const validate = step(namespace.callable("validate"), { input: Order }, async (attempt) => {
    assert.deepEqual([attempt.attempt, attempt.maxAttempts, attempt.name], [1, 1, "validate"]);
    assert.equal(attempt.key, `${attempt.taskId}/validate`);
    const remaining = attempt.deadline.getTime() - Date.now();
    assert(remaining > 0 && remaining <= 300_000, String(remaining));
    await setTimeout(1);
    return { total: attempt.input.number * 2, year: attempt.input.at.getUTCFullYear() };
  });
  const Cart = z.object({ total: z.number(), year: z.number() });
  const pay = step(namespace.callable("pay"), { results: { validate: Cart } }, ({ results }) => results.validate.total);
  const [task] = await namespace.run([validate, pay], [{ number: 4, at: "2026-01-02T00:00:00Z" }]);
  assert.equal(task?.status, "completed");
  assert.deepEqual(stepOf(task, "validate").result, { total: 8, year: 2026 });
  assert.equal(stepOf(task, "pay").result, 8);
});

void test("a step waits and keeps its checkpoint", async () => {
  const namespace = new Namespace({ approve: {} });
  const approve = step(namespace.callable("approve"), async ({ attempt, checkpoint, received, taskId }: Step) => {
    if (checkpoint === undefined) {
      throw new Wait({ checkpoint: { rows: 1 } });
    }
    if (received === undefined) {
      // The signal may arrive before the step waits for it.
      await client.signal(taskId, "approved", { by: "ada" });
      throw new Wait({ delayMs: 60_000, signal: "approved" });
    }
    return [attempt, checkpoint, received];
  });
  const warnings: string[] = [];
  const logger = { ...SILENT, warn: (message: string) => warnings.push(message) };
  const [task] = await namespace.run([approve], [{}], { logger });
  assert.deepEqual(stepOf(task, "approve").result, [1, { rows: 1 }, { by: "ada" }]);
  assert.deepEqual(warnings, []);
});

void test("a map runs once for each element", async () => {
  const namespace = new Namespace({ list: {}, each: { dependencies: ["list"], map: { step: "list" } } });
  const list = step(namespace.callable("list"), () => [1, 2, 3]);
  const each = step(namespace.callable("each"), ({ item }: Step) => (item as number) * 2);
  const [task] = await namespace.run([list, each]);
  assert.deepEqual(
    [0, 1, 2].map((number) => stepOf(task, `each_${String(number)}`).result),
    [2, 4, 6],
  );
});

void test("every failure has a kind and a message", async () => {
  class OutOfStock extends Error {}
  const names = ["permanent", "other", "text", "wrong_input", "no_dependency", "wrong_result", "surrogate"];
  const namespace = new Namespace({
    ...Object.fromEntries(names.map((name) => [name, {}])),
    retryable: { retry: { limit: 2, backoff_base_ms: 1 } },
  });
  const handler = (name: string, run: (attempt: Step) => unknown): ReturnType<typeof step> =>
    step(namespace.callable(name), run);
  const NumberInput = z.object({ number: z.number() });
  const [task] = await namespace.run(
    [
      handler("permanent", () => {
        throw new PermanentError("never", { kind: "declined" });
      }),
      handler("other", async () => Promise.reject(new OutOfStock("no shoes"))),
      handler("text", () => {
        // eslint-disable-next-line @typescript-eslint/only-throw-error -- some code does
        throw "a text";
      }),
      handler("wrong_result", () => ({ map: new Map() })),
      handler("surrogate", () => {
        throw new Error("a\0b\ud800");
      }),
      step(namespace.callable("wrong_input"), { input: NumberInput }, () => assert.fail("not called")),
      step(namespace.callable("no_dependency"), { results: { other: NumberInput } }, () => assert.fail("not called")),
      handler("retryable", ({ attempt }) => {
        if (attempt === 1) {
          throw new RetryableError("later", { kind: "down", retryAfterMs: 1 });
        }
        return attempt;
      }),
    ],
    [{ number: "four" }],
  );
  assert.equal(task?.status, "blocked_by_failures");
  assert.deepEqual(errorOf(task, "permanent"), ["declined", "never"]);
  assert.deepEqual(errorOf(task, "other"), ["OutOfStock", "no shoes"]);
  assert.deepEqual(errorOf(task, "text"), ["error", "a text"]);
  assert.deepEqual(errorOf(task, "surrogate"), ["Error", "a\ufffdb\ufffd"]);
  assert.deepEqual(errorOf(task, "wrong_input"), [
    "bad_input",
    "the task's input: number: Invalid input: expected number, received string",
  ]);
  assert.deepEqual(errorOf(task, "no_dependency"), [
    "bad_input",
    "step no_dependency does not depend on a step other; see `dependencies` in template test 1.0.0",
  ]);
  assert.deepEqual(errorOf(task, "wrong_result"), [
    "bad_result",
    "the handler's result is not JSON: a Map is not a JSON value",
  ]);
  assert.equal(stepOf(task, "retryable").result, 2);
});

function nested(depth: number): unknown {
  let value: unknown = [];
  for (let level = 1; level < depth; level++) {
    value = [value];
  }
  return value;
}

void test("JSON passes unchanged or is refused", async () => {
  const unchanged: unknown[] = [
    null,
    true,
    0,
    -1,
    Number.MAX_SAFE_INTEGER,
    2n ** 53n + 1n,
    -(2n ** 63n),
    2n ** 64n - 1n,
    0.1,
    1e20,
    1e300,
    5e-324,
    "",
    "ü💩\u2028\x7f",
    '"\\/\b\f\n\r\t',
    "12345678901234567890",
    [],
    {},
    [[], [{}], { "": null }],
    { b: 1, a: { ü: [1, 2.5, "x", 9007199254740993n] } },
    JSON.parse('{"__proto__": 1, "constructor": 9007199254740, "big": 1}'),
    nested(99),
    "x".repeat(1024 * 1024 - 500),
  ];
  const refused: [value: unknown, reason: RegExp][] = [
    [NaN, /NaN is not a JSON value/],
    [[Infinity], /Infinity is not/],
    [2n ** 64n, /64 bits/],
    ["\ud800", /hex escape/],
    ["a\0b", /U\+0000|NUL/],
    [[undefined], /undefined in an array/],
    [() => 1, /function/],
    [new Set([1]), /Set/],
    [{ forgotten: Promise.resolve(1) }, /Promise/],
    ["x".repeat(1024 * 1024 + 1), /1048576/],
    [nested(101), /100 levels/],
  ];
  const namespace = new Namespace({ echo: {} });
  const echo = step(namespace.callable("echo"), ({ input }: Step<{ number: number; value: unknown }>) => {
    assert.deepEqual(input.value, unchanged[input.number]);
    return input.value;
  });
  const tasks = await namespace.run(
    [echo],
    unchanged.map((value, number) => ({ number, value })),
  );
  for (const [number, task] of tasks.entries()) {
    const { result, error } = stepOf(task, "echo");
    assert.deepEqual([error, result], [undefined, unchanged[number]]);
  }

  const other = new Namespace({ refuse: {} });
  const refuse = step(other.callable("refuse"), ({ input }: Step<{ number: number }>) => refused[input.number]?.[0]);
  const failed = await other.run(
    [refuse],
    refused.map((_, number) => ({ number })),
  );
  for (const [number, task] of failed.entries()) {
    const [kind, message] = errorOf(task, "refuse");
    assert.equal(kind, "bad_result");
    assert.match(message, refused[number]?.[1] ?? /never/);
  }
});

void test("a number that looks like another integer in JavaScript is recorded exactly", async () => {
  const namespace = new Namespace({ number: {} });
  // JSON.stringify(2 ** 63) is 9223372036854776000.
  const [task] = await namespace.run([step(namespace.callable("number"), () => [2 ** 53, 2 ** 63])]);
  assert.deepEqual(stepOf(task, "number").result, [2n ** 53n, 2n ** 63n]);
});

void test("a handler past its time limit is cancelled and keeps its slot", async () => {
  const namespace = new Namespace({ slow: { timeout_seconds: 1 }, after: { timeout_seconds: 30 } });
  let running = 0;
  let most = 0;
  let aborted = false;
  const slow = step(namespace.callable("slow"), async ({ signal }) => {
    most = Math.max(most, ++running);
    await once(signal, "abort");
    aborted = true;
    await setTimeout(300);
    running--;
  });
  const after = step(namespace.callable("after"), () => {
    most = Math.max(most, running + 1);
  });
  // With one slot, the steps run one after the other, in an order that the test does not know.
  const [task] = await namespace.run([slow, after], [{}], { maxConcurrent: 1 });
  assert.equal(errorOf(task, "slow")[0], "timeout");
  assert.equal(stepOf(task, "after").status, "completed");
  assert.deepEqual([aborted, most], [true, 1]);
});

void test("a cancelled task aborts the signal of its handler", async () => {
  const namespace = new Namespace({ wait: {} });
  let started = (): void => undefined;
  const hasStarted = new Promise<void>((resolve) => (started = resolve));
  let aborted = (): void => undefined;
  const wasAborted = new Promise<void>((resolve) => (aborted = resolve));
  const handler = step(namespace.callable("wait"), async ({ signal }) => {
    started();
    await once(signal, "abort");
    aborted();
  });
  const worker = namespace.worker([handler], { leaseMs: 1000 });
  await worker.start();
  const taskId = await namespace.create();
  await hasStarted;
  await client.cancel(taskId, { reason: "no longer needed" });
  await wasAborted;
  assert.equal((await client.get(taskId)).status, "cancelled");
  await worker.stop();
});

void test("a handler that blocks the event loop keeps its lease", async () => {
  const namespace = new Namespace({ block: { retry: { limit: 3 } } });
  const block = step(namespace.callable("block"), ({ attempt }) => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000);
    return attempt;
  });
  const [task] = await namespace.run([block], [{}], { leaseMs: 1000 });
  assert.equal(stepOf(task, "block").result, 1);
});

void test("handlers of one process run side by side", async () => {
  const namespace = new Namespace({ meet: {} });
  let arrived = 0;
  let open = (): void => undefined;
  const gate = new Promise<void>((resolve) => (open = resolve));
  const meet = step(namespace.callable("meet"), async () => {
    if (++arrived === 20) {
      open();
    }
    await gate;
  });
  const tasks = await namespace.run([meet], new Array<object>(20).fill({}));
  assert(tasks.every((task) => task.status === "completed"));
});

void test("a worker that cannot start says why", async () => {
  const namespace = new Namespace({ missing: {} });
  await assert.rejects(namespace.worker([]).start(), (error) => {
    assert(error instanceof StartError);
    assert.match(error.message, new RegExp(`\`${namespace.callable("missing")}\` \\(step missing of test\\)`));
    assert.equal(error.exitCode, 1);
    return true;
  });
  await assert.rejects(namespace.worker([], { maxConcurrent: 0 }).start(), /max_concurrent/);
  const handler = step("a", () => null);
  assert.throws(() => namespace.worker([handler, handler]), /two handlers are registered as a/);
});

void test("the status API and the log", async () => {
  const namespace = new Namespace({ noop: {} });
  const events: [message: string, fields: object][] = [];
  const record = (message: string, fields: object): void => void events.push([message, fields]);
  const logger = { error: record, warn: record, info: record, debug: record };
  const worker = namespace.worker([step(namespace.callable("noop"), () => null)], { logger });
  await worker.start();
  await assert.rejects(worker.start(), /running already/);
  const response = await fetch(`${worker.url}/v1/worker/status`);
  const status = (await response.json()) as Record<string, unknown>;
  assert.equal(status["worker_id"], worker.workerId);
  assert.deepEqual([status["status"], status["handlers"]], ["running", [namespace.callable("noop")]]);
  await new Worker({ steps: [], port: Number(new URL(worker.url).port) }).checkHealth();
  await worker.stop();
  await worker.stop();
  await assert.rejects(new Worker({ steps: [], port: 1 }).checkHealth(), (error) => {
    assert(error instanceof UnhealthyError);
    assert.match(error.message, /no response from http:\/\/127\.0\.0\.1:1\/health/);
    return true;
  });
  const [, fields] = events.find(([message]) => message.startsWith("worker started")) ?? [];
  assert.equal((fields as Record<string, unknown>)["namespaces"], namespace.name);
  assert.throws(() => worker.url, /not running/);

  // A worker can start again.
  await worker.start();
  assert.equal((await wait(await namespace.create())).status, "completed");
  await worker.stop();
});

const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

void test("the messages of a handler name its step", async () => {
  const namespace = new Namespace({ charge: {} });
  const events: [message: string, fields: object][] = [];
  const record = (message: string, fields: object): void => void events.push([message, fields]);
  const logger = { error: record, warn: record, info: record, debug: record };
  const oops = new TypeError("oops");
  const charge = step(namespace.callable("charge"), ({ log }) => {
    log.info("charging", { cents: 5 });
    log.error("no bank");
    throw oops;
  });
  const worker = namespace.worker([charge], { logger });
  await worker.start();
  const taskId = await client.create(namespace.name, "test", {}, { traceparent: TRACEPARENT });
  await wait(taskId);
  await worker.stop();
  const fields = { task: taskId, step: "charge", attempt: 1, traceparent: TRACEPARENT };
  const ofStep = events.filter(([, logged]) => "traceparent" in logged);
  assert.deepEqual(ofStep, [
    ["charging", { ...fields, cents: 5 }],
    ["no bank", fields],
    ["a handler failed", { ...fields, error: oops }],
  ]);
});

type Program = ReturnType<typeof spawn> & { errors: () => string; namespace: Namespace; taskId: string };

/** Starts a program with a worker whose only handler hangs. Returns once the handler runs. */
async function startProgram(end: string): Promise<Program> {
  const namespace = new Namespace({ hang: { retry: { limit: 2 } } });
  const program = `
    const { step, Worker } = require("@tasker-systems/tasker");
    const hang = step("${namespace.callable("hang")}", async () => {
      console.log("started");
      await new Promise((resolve) => setTimeout(resolve, 3_600_000));
    });
    const worker = new Worker({
      steps: [hang], templates: ${JSON.stringify(namespace.template)}, port: 0, databaseUrl: ${JSON.stringify(DATABASE)},
      leaseMs: 1000, shutdownTimeoutMs: 300, logger: { ...console, info() {} },
    });
    ${end}`;
  const child = spawn(process.execPath, ["--eval", program], { cwd: __dirname, stdio: ["pipe", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (data: Buffer) => (errors += data.toString()));
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const deadline = Date.now() + DEADLINE_MS;
  let taskId: string;
  for (;;) {
    try {
      taskId = await namespace.create();
      break;
    } catch (error) {
      // The worker stores the template when it starts.
      assert(Date.now() < deadline && child.exitCode === null, `${String(error)}\n${errors}`);
      await setTimeout(50);
    }
  }
  assert.equal((await lines.next()).value, "started", errors);
  return Object.assign(child, { errors: () => errors, namespace, taskId });
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  void test(`${signal} stops the worker although a handler hangs`, async () => {
    const child = await startProgram("worker.run();");
    child.kill(signal);
    const [code] = (await once(child, "exit")) as [number | null];
    assert.equal(code, 0, child.errors());
    assert.match(child.errors(), /handlers still run after the stop/);
  });
}

void test("a killed worker loses nothing", async () => {
  const child = await startProgram("worker.run();");
  child.kill("SIGKILL");
  const { namespace, taskId } = child;
  const worker = namespace.worker([step(namespace.callable("hang"), ({ attempt }) => attempt)]);
  await worker.start();
  const task = await wait(taskId);
  await worker.stop();
  assert.deepEqual([task.status, stepOf(task, "hang").result], ["completed", 2]);
});

void test("a process may exit without a stop", async () => {
  const child = await startProgram(`worker.start(); process.stdin.once("data", () => process.exit(7));`);
  child.stdin?.write("\n");
  const [code] = (await once(child, "exit")) as [number | null];
  assert.equal(code, 7, child.errors());
});

void test("a worker ends with a thread that is terminated", async () => {
  const child = await startProgram(`
    const { isMainThread, parentPort, Worker: Thread } = require("node:worker_threads");
    if (isMainThread) {
      const thread = new Thread(process.execArgv[1] ?? process._eval, { eval: true });
      const started = new Promise((resolve) => thread.once("message", resolve));
      process.stdin.once("data", async () => {
        const url = await started;
        await thread.terminate();
        // The worker ends with its thread, and so does its status API.
        for (;;) {
          await fetch(url).catch(() => process.exit(7));
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      });
    } else {
      worker.start().then(() => parentPort.postMessage(worker.url));
    }`);
  child.stdin?.write("\n");
  const [code] = (await once(child, "exit")) as [number | null];
  assert.equal(code, 7, child.errors());
});
