/** The handlers of the sample workflows: arithmetic, orders, faults. */

import { setTimeout } from "node:timers/promises";

import { type Handler, PermanentError, RetryableError, type Step, step } from "@tasker-systems/tasker";
import { z } from "zod";

import { flows } from "./flows.js";

const MAX_U64 = 2n ** 64n - 1n;

/** The callables of the four arithmetic workflows. */
const ARITHMETIC = [
  ...["1", "2", "3", "4"].map((number) => `linear_workflow.linear_step_${number}`),
  ...["start", "branch_b", "branch_c", "end"].map((part) => `diamond_workflow.diamond_${part}`),
  ...["root", "branch_left", "branch_right", "final_convergence"].map((part) => `tree_workflow.tree_${part}`),
  ...["d", "e", "f", "g"].map((leaf) => `tree_workflow.tree_leaf_${leaf}`),
  ...["init", "process_left", "process_right", "validate", "transform", "analyze", "finalize"].map(
    (part) => `mixed_dag_workflow.dag_${part}`,
  ),
];

/** Squares the product of the dependencies' values, or the task's `even_number` if there are none. */
function square({ input, results }: Step<{ even_number?: unknown }, Record<string, { value?: unknown }>>): object {
  const dependencies = Object.entries(results);
  const factors =
    dependencies.length > 0
      ? dependencies.map(([name, { value }]) => toInteger(value, name))
      : [toInteger(input.even_number, "even_number")];
  const value = factors.reduce((product, factor) => product * factor, 1n) ** 2n;
  // A number up to 2^53, which every JSON parser reads exactly, and a string beyond.
  return { value: value <= 2n ** 53n ? value : value.toString() };
}

function toInteger(value: unknown, name: string): bigint {
  if (typeof value === "string" && /^\d+$/.test(value)) {
    return BigInt(value);
  }
  if (typeof value === "bigint" && value >= 0n) {
    return value;
  }
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) {
    return BigInt(value);
  }
  const message = `${name} must be an integer from 0 to 2^64 - 1, or a string of decimal digits, but is ${String(value)}`;
  throw new PermanentError(message, { kind: "bad_input" });
}

/** An integer of 64 bits. */
const U64 = z.union([z.int(), z.bigint()]).transform(BigInt).pipe(z.bigint().min(0n).max(MAX_U64));

const Item = z.object({ sku: z.string(), quantity: U64, unit_price_cents: U64 });

const Order = z.object({
  customer: z.unknown(),
  items: z.array(Item),
  payment: z.object({ method: z.string(), token: z.string().nullish() }),
  shipping: z.unknown(),
});

/** An order whose items were checked. */
const Checked = z.object({ items: z.array(Item), item_count: U64, total_cents: U64 });

/** An order whose items are reserved. */
const Reserved = Checked.extend({
  reservations: z.array(z.object({ reservation_id: z.string(), sku: z.string(), quantity: U64 })),
});

/** An order that is paid. */
const Paid = Reserved.extend({ payment_id: z.string() });

const validateOrder = step("order_fulfillment.validate_order", { input: Order }, ({ input: { items } }) => {
  const invalid = (message: string): PermanentError => new PermanentError(message, { kind: "invalid_order" });
  if (items.length === 0) {
    throw invalid("the order has no items");
  }
  const skus = new Set<string>();
  let itemCount = 0n;
  let totalCents = 0n;
  for (const { sku, quantity, unit_price_cents } of items) {
    if (quantity === 0n) {
      throw invalid(`the quantity of item ${sku} is 0`);
    }
    if (skus.has(sku)) {
      throw invalid(`item ${sku} is in the order twice`);
    }
    skus.add(sku);
    itemCount += quantity;
    totalCents += quantity * unit_price_cents;
    if (itemCount > MAX_U64 || totalCents > MAX_U64) {
      throw invalid(`with item ${sku}, the order's total is beyond 2^64 cents`);
    }
  }
  return { items, item_count: itemCount, total_cents: totalCents };
});

const reserveInventory = step(
  "order_fulfillment.reserve_inventory",
  { results: { validate_order: Checked } },
  ({ results: { validate_order: order }, taskId }) => ({
    ...order,
    reservations: order.items.map(({ sku, quantity }) => ({
      reservation_id: `${id("res", taskId)}_${sku}`,
      sku,
      quantity,
    })),
  }),
);

const processPayment = step(
  "order_fulfillment.process_payment",
  { input: Order, results: { reserve_inventory: Reserved } },
  ({ input: { payment }, results: { reserve_inventory: order }, taskId }) => {
    if (payment.method === "declined_card" || payment.token === "tok_declined") {
      const message = `the bank declined to pay ${order.total_cents.toString()} cents by ${payment.method}`;
      throw new PermanentError(message, { kind: "payment_declined" });
    }
    return { ...order, payment_id: id("pay", taskId) };
  },
);

const shipOrder = step(
  "order_fulfillment.ship_order",
  { input: Order, results: { process_payment: Paid } },
  ({ input: { customer, shipping }, results: { process_payment: order }, taskId }) => ({
    ...order,
    tracking_number: id("trk", taskId),
    customer,
    shipping,
  }),
);

/** An id that is the same in every attempt. */
function id(kind: string, taskId: string): string {
  return `${kind}_${taskId.replaceAll("-", "")}`;
}

const noop = step("benchmark.noop", () => null);

const failTimes = step("faults.fail_times", ({ attempt, initialization }) => {
  const failures = initialization["failures"] as number;
  if (attempt <= failures) {
    const [number, all] = [String(attempt), String(failures)];
    throw new RetryableError(`attempt ${number} fails, as configured for the first ${all} attempts`);
  }
  return { attempts: attempt };
});

const permanent = step("faults.permanent", () => {
  throw new PermanentError("this step fails permanently, as configured");
});

const sleep = step("faults.sleep", async ({ input, initialization, signal }: Step<{ ms?: number }>) => {
  const ms = (initialization["ms"] as number | undefined) ?? input.ms ?? 0;
  await setTimeout(ms, undefined, { signal });
  return { slept_ms: ms };
});

/** Fails as a handler in Rust does that panics. */
const panic = step("faults.panic", () => {
  throw new RetryableError("this handler panics, as configured", { kind: "panic" });
});

const echo = step("faults.echo", ({ input }) => input);

/** All handlers of the sample workflows. */
export const steps: Handler[] = [
  ...ARITHMETIC.map((callable) => step(callable, square)),
  validateOrder,
  reserveInventory,
  processPayment,
  shipOrder,
  noop,
  failTimes,
  permanent,
  sleep,
  panic,
  echo,
  ...flows,
];
