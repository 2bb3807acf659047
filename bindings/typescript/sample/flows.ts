/** The handlers of the sample workflows with waits, batches, a decision, a child task and gates. */

import { setTimeout } from "node:timers/promises";

import { type Handler, PermanentError, step } from "@tasker-systems/tasker";
import { z } from "zod";

const Expense = z.object({ employee: z.string(), amount_cents: z.int() });

/** The payload of the signal `decision`, and the result of the step `decide`. */
const Decision = z.object({ approved: z.boolean(), by: z.string().nullish() });

/** Reads the signal for which the step waited. Without one in time, the expense is not approved. */
const decide = step("expenses.decide", ({ received }) => {
  if (received === undefined) {
    return { approved: false, by: null };
  }
  const { data, error } = Decision.safeParse(received);
  if (error !== undefined) {
    throw new PermanentError(`the signal \`decision\`: ${z.prettifyError(error)}`, { kind: "bad_signal" });
  }
  return { approved: data.approved, by: data.by ?? null };
});

/** The id is the same in every attempt, so that the bank pays once. */
const reimburse = step("expenses.reimburse", { input: Expense }, ({ input, taskId }) => ({
  payment_id: `pay_${taskId.replaceAll("-", "")}`,
  amount_cents: input.amount_cents,
}));

/** The results do not contain a step that was skipped. */
const notify = step(
  "expenses.notify",
  { input: Expense, results: { decide: Decision } },
  ({ input: { employee, amount_cents }, results }) => {
    let message = "nobody decided in time";
    if ("reimburse" in results) {
      message = `${amount_cents.toString()} cents were paid`;
    } else if (results.decide.by) {
      message = `${results.decide.by} did not approve the expense`;
    }
    return { to: employee, message };
  },
);

const Import = z.object({
  records: z.array(z.looseObject({ id: z.unknown(), email: z.unknown().optional() })),
  batch_size: z.int().positive().optional(),
});

/** Divides the records into batches. */
const split = step("data_import.split", { input: Import }, ({ input, initialization }) => {
  const total = input.records.length;
  if (total === 0) {
    return { batch_processing_outcome: { type: "no_batches" } };
  }
  const size = input.batch_size ?? (initialization["batch_size"] as number);
  const cursors = Array.from({ length: Math.ceil(total / size) }, (_, index) => ({
    batch_id: String(index + 1).padStart(3, "0"),
    start_cursor: index * size,
    end_cursor: Math.min((index + 1) * size, total),
    batch_size: size,
  }));
  return {
    batch_processing_outcome: {
      type: "create_batches",
      worker_template_name: initialization["worker_template_name"],
      worker_count: cursors.length,
      cursor_configs: cursors,
      total_items: total,
    },
  };
});

/** Imports the records of one batch. A bad record fails it for good, because every attempt would find it. */
const importBatch = step("data_import.import_batch", { input: Import }, ({ input, initialization }) => {
  if (initialization["is_no_op"] === true) {
    return { imported: 0 };
  }
  const cursor = initialization["cursor"] as { start_cursor: number; end_cursor: number };
  const records = input.records.slice(cursor.start_cursor, cursor.end_cursor);
  for (const { id, email } of records) {
    if (typeof email !== "string" || !email.includes("@")) {
      throw new PermanentError(`record ${String(id)} has no email address`, { kind: "bad_record" });
    }
  }
  return { imported: records.length };
});

/** What a step receives of a batch. A batch that failed has an `error` in the place of its result. */
const Batch = z.looseObject({
  imported: z.int().default(0),
  error: z.looseObject({ message: z.string() }).optional(),
});

/** Adds up the batches. */
const report = step("data_import.report", ({ results }) => {
  const batches = Object.entries(results).map(([batch, result]) => ({ batch, ...Batch.parse(result) }));
  const failed = batches.flatMap(({ batch, error }) => (error === undefined ? [] : [{ batch, reason: error.message }]));
  return { imported: batches.reduce((sum, { imported }) => sum + imported, 0), failed };
});

const Routed = z.object({ total_cents: z.int() });

/** Chooses the branches. The other ones are skipped. */
const route = step("order_routing.route", { input: Routed }, ({ input, initialization }) => {
  const small = input.total_cents < (initialization["review_from_cents"] as number);
  const branches = small ? ["approve_by_rule"] : ["review", "check_credit"];
  return { decision_point_outcome: { type: "create_steps", step_names: branches } };
});

const approveByRule = step("order_routing.approve_by_rule", () => ({ approved_by: "rule" }));

const review = step("order_routing.review", () => ({ approved_by: "reviewer" }));

const checkCredit = step("order_routing.check_credit", { input: Routed }, ({ input }) => ({
  credit_cents: input.total_cents,
}));

/** Receives the results of the branches that ran. */
const dispatch = step("order_routing.dispatch", ({ results }) => ({ dispatched_after: Object.keys(results).sort() }));

const closeMonth = step("billing.close_month", { input: z.object({ month: z.string() }) }, ({ input }) => ({
  closed: input.month,
}));

const Sent = z.object({ invoice_id: z.string() });

/** The result of the step `invoice` has the results of the child task's last steps. */
const confirm = step(
  "billing.confirm",
  { results: { invoice: z.object({ results: z.object({ send: Sent }) }) } },
  ({ results }) => ({ invoice_id: results.invoice.results.send.invoice_id }),
);

const issue = step(
  "billing.issue",
  { input: z.object({ id: z.string(), usage_cents: z.int() }) },
  ({ input: { id, usage_cents } }) => ({ invoice_id: `inv_${id}`, total_cents: usage_cents }),
);

const send = step("billing.send", { results: { issue: Sent } }, ({ results }) => ({
  invoice_id: results.issue.invoice_id,
  sent: true,
}));

const Payment = z.object({ account_id: z.string(), amount_cents: z.int() });

/** A real handler calls the bank, with the step's key as idempotency key. */
const charge = step("payments.charge", { input: Payment }, async ({ input, initialization, taskId }) => {
  await setTimeout(initialization["bank_ms"] as number);
  return { charge_id: `chg_${taskId.replaceAll("-", "")}`, amount_cents: input.amount_cents };
});

const Charge = z.object({ charge_id: z.string(), amount_cents: z.int() });

const receipt = step("payments.receipt", { input: Payment, results: { charge: Charge } }, ({ input, results }) => ({
  account_id: input.account_id,
  ...results.charge,
}));

/** All of them. */
export const flows: Handler[] = [
  decide,
  reimburse,
  notify,
  split,
  importBatch,
  report,
  route,
  approveByRule,
  review,
  checkCredit,
  dispatch,
  closeMonth,
  confirm,
  issue,
  send,
  charge,
  receipt,
];
