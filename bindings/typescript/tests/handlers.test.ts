/** Handlers without a server. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { runInNewContext } from "node:vm";

import { PermanentError, RetryableError, type Step, step, Wait, Worker } from "@tasker-systems/tasker";
import {
  defineHandler,
  ErrorType,
  type StepContext,
  StepHandler,
  type StepHandlerResult,
  toHandler,
} from "@tasker-systems/tasker/compat";
import * as compat from "@tasker-systems/tasker/compat";
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

void test("a wait is checked as in production", async () => {
  const waits = async (wait: Wait): Promise<unknown> => {
    const handler = step("wait", () => {
      throw wait;
    });
    return run(handler).catch((error: unknown) => (error instanceof PermanentError ? error.kind : error));
  };
  assert.equal(await waits(new Wait({ checkpoint: new Map() })), "bad_checkpoint");
  assert.equal(await waits(new Wait({ checkpoint: "\0" })), "bad_checkpoint");
  assert.equal(await waits(new Wait({ signal: "" })), "bad_wait");
});

void test("whatever a handler throws is an outcome", async () => {
  const thrown = async (value: unknown): Promise<unknown[]> => {
    const handler = step("throws", () => {
      throw value;
    });
    return run(handler).then(
      () => [],
      (error: unknown) => (error instanceof RetryableError ? [error.kind, error.message] : [error]),
    );
  };
  const broken = Object.defineProperty(new Error(), "message", {
    get: () => {
      throw new Error("no");
    },
  });
  const untyped = new RetryableError("gone", { kind: 404 as unknown as string });
  assert.deepEqual(await thrown(undefined), ["error", "undefined"]);
  assert.deepEqual(await thrown(null), ["error", "null"]);
  assert.deepEqual(await thrown(Symbol("s")), ["error", "Symbol(s)"]);
  assert.deepEqual(await thrown({ code: 1 }), ["error", "{ code: 1 }"]);
  assert.deepEqual(await thrown(Object.create(null)), ["error", "[Object: null prototype] {}"]);
  assert.deepEqual(await thrown(Object.assign(new TypeError(), { message: 7 })), ["TypeError", "7"]);
  assert.deepEqual(await thrown(untyped), ["404", "gone"]);
  const refused = new AggregateError([new Error("refused by ::1"), new Error("refused by 127.0.0.1")], "");
  const failed = new TypeError("fetch failed", { cause: new Error("no route", { cause: refused }) });
  const message = "fetch failed: no route: refused by ::1; refused by 127.0.0.1";
  assert.deepEqual(await thrown(failed), ["TypeError", message]);
  assert.deepEqual(await thrown(broken), ["error", "the handler threw what cannot be read"]);
  assert.deepEqual(await thrown(runInNewContext("new TypeError('of another realm')")), [
    "TypeError",
    "of another realm",
  ]);
});

void test("a result that JSON would lose is refused", async () => {
  const lost = [
    new Date(NaN),
    Buffer.from("a"),
    new Uint8Array(1),
    new ArrayBuffer(1),
    new Error("a"),
    /a/,
    new Set([1]),
    new Map([[1, 2]]),
    (function* () {
      yield 1;
    })(),
    [undefined],
    () => 1,
  ];
  for (const value of lost) {
    await assert.rejects(run(step("lost", () => ({ value }))), { kind: "bad_result" }, inspect(value));
  }
  const kept = {
    date: new Date(0),
    class: new (class Point {
      x = 1;
    })(),
    none: undefined,
    empty: Object.create(null) as object,
  };
  assert.deepEqual(await run(step("kept", () => kept)), {
    date: "1970-01-01T00:00:00.000Z",
    class: { x: 1 },
    empty: {},
  });
});

void test("what is no handler is refused", () => {
  const wrong = (make: () => unknown, message: RegExp): void => {
    assert.throws(make, { name: "TypeError", message });
  };
  const untyped = step as (...parts: unknown[]) => unknown;
  wrong(() => untyped(undefined, () => 1), /must be a text that is not empty, but is undefined/);
  wrong(() => untyped("pay", {}, {}), /the handler of pay is missing/);
  wrong(() => new Worker({ steps: [(() => 1) as never] }), /is not a handler: make one with step/);
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
  const pay = defineHandler(
    "pay",
    { inputs: { token: "token" }, version: "1.0.0" },
    // eslint-disable-next-line @typescript-eslint/require-await -- as in the examples of tasker-core
    async ({ token, context }) => {
      if (token === undefined) {
        throw new compat.PermanentError("no token", { error_code: "NO_TOKEN" });
      }
      if (token === "declined") {
        return compat.StepHandlerResult.failure("declined", ErrorType.VALIDATION_ERROR, false);
      }
      const total = context.getDependencyField("validate_cart", "total", "cents");
      return compat.StepHandlerResult.success({ total, size: context.getInputOr("size", 7) }, { gateway: "test" });
    },
  );
  const cart = { validate_cart: { total: { cents: 5 } } };
  assert.deepEqual(await run(pay, { input: { token: "ok" }, results: cart }), { total: 5, size: 7 });
  await assert.rejects(run(pay), { name: "PermanentError", kind: "permanent_error", message: "no token" });
  await assert.rejects(run(pay, { input: { token: "declined" } }), {
    name: "PermanentError",
    kind: "validation_error",
  });

  const greeting = toHandler(Greeting);
  assert.deepEqual(await run(greeting, { input: { name: "Ada" } }), { greeting: "Hello, Ada!" });
  await assert.rejects(run(greeting), { name: "PermanentError", kind: "validation_error" });
});
