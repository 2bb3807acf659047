/** Handlers without a server. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { PermanentError, RetryableError, type Step, step, Wait } from "@tasker-systems/tasker";
import {
  defineHandler,
  ErrorType,
  type StepContext,
  StepHandler,
  type StepHandlerResult,
  toHandler,
} from "@tasker-systems/tasker/compat";
import { run } from "@tasker-systems/tasker/testing";
import { z } from "zod";

const Order = z.object({ items: z.array(z.string()), placed: z.iso.datetime().transform((text) => new Date(text)) });
const Cart = z.object({ total: z.union([z.number(), z.bigint()]) });

const pay = step("orders.pay", { input: Order, results: { validate: Cart } }, ({ input, results, key }) => {
  if (results.validate.total === 0) {
    throw new PermanentError("the cart is empty", { kind: "empty_cart" });
  }
  return { key, year: input.placed.getUTCFullYear(), total: results.validate.total };
});

const input = { items: ["shoes"], placed: "2026-01-02T00:00:00Z" };

void test("a handler runs as in production", async () => {
  const taskId = "00000000-0000-0000-0000-000000000007";
  const result = await run(pay, { input, results: { validate: { total: 2n ** 60n } }, taskId, name: "pay" });
  assert.deepEqual(result, { key: `${taskId}/pay`, year: 2026, total: 2n ** 60n });
});

void test("a handler that waits throws its wait", async () => {
  const approve = step("approve", ({ received, checkpoint, item }: Step) => {
    if (received === undefined) {
      throw new Wait({ delayMs: 2500, signal: "approved", checkpoint: [1] });
    }
    return [received, checkpoint, item];
  });
  await assert.rejects(run(approve), { name: "Wait", delayMs: 2500, signal: "approved", checkpoint: [1] });
  assert.deepEqual(await run(approve, { received: { by: "ada" }, checkpoint: [1], item: 7 }), [{ by: "ada" }, [1], 7]);
  assert.throws(() => new Wait({ delayMs: -1 }), RangeError);
});

void test("errors are those of the step", async () => {
  await assert.rejects(run(pay, { input, results: { validate: { total: 0 } } }), (error) => {
    assert(error instanceof PermanentError && error.cause instanceof PermanentError);
    assert.deepEqual([error.kind, error.message], ["empty_cart", "the cart is empty"]);
    return true;
  });
  await assert.rejects(run(pay), { name: "PermanentError", kind: "bad_input" });
  const busy = step("busy", () => {
    throw new RetryableError("busy", { kind: "busy", retryAfterMs: 1500 });
  });
  await assert.rejects(run(busy), { name: "RetryableError", kind: "busy", retryAfterMs: 1500 });
  const other = step("other", ({ input }: Step<{ a: { b: string } }>) => input.a.b);
  await assert.rejects(run(other), { name: "RetryableError", kind: "TypeError" });
  await assert.rejects(run(step("nan", () => NaN)), { name: "PermanentError", kind: "bad_result" });
  await assert.rejects(run(step("late", () => "\ud800")), { name: "PermanentError", kind: "bad_result" });
  assert.throws(() => new RetryableError("never", { retryAfterMs: -1 }), RangeError);
});

void test("a test cancels a handler", async () => {
  const controller = new AbortController();
  const wait = step(
    "wait",
    ({ signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => {
          reject(new RetryableError("aborted", { kind: "aborted" }));
        });
        controller.abort();
      }),
  );
  await assert.rejects(run(wait, { signal: controller.signal }), { kind: "aborted" });
});

void test("handlers of tasker-core move by changing their import", async () => {
  const add = defineHandler(
    "Math.Add",
    { depends: { left: "first", absent: "second" }, inputs: { right: "the_right" } },
    async ({ left, right, absent, context }) => {
      await Promise.resolve();
      return { sum: (left as number) + (right as number), absent, uuid: context.taskUuid };
    },
  );
  assert.equal(add.callable, "Math.Add");
  const taskId = "00000000-0000-0000-0000-000000000007";
  const result = await run(add, { input: { the_right: 2 }, results: { first: 1 }, taskId });
  assert.deepEqual(result, { sum: 3, absent: null, uuid: taskId });

  class Greeting extends StepHandler {
    static override handlerName = "greeting";

    // eslint-disable-next-line @typescript-eslint/require-await -- as in the examples of tasker-core
    async call(context: StepContext): Promise<StepHandlerResult> {
      const name = context.getInput<string>("name");
      if (name === undefined) {
        return this.failure("name is required", ErrorType.VALIDATION_ERROR, false);
      }
      return this.success({ greeting: `Hello, ${name}!` }, { operation: "greet" });
    }
  }
  const greeting = toHandler(Greeting);
  assert.deepEqual(await run(greeting, { input: { name: "Ada" } }), { greeting: "Hello, Ada!" });
  await assert.rejects(run(greeting), { name: "PermanentError", kind: "validation_error" });
});
