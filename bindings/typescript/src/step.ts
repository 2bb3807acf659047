/** Steps as handlers see them, and handlers as workers see them. */

import { inspect } from "node:util";

import type { StandardSchemaV1 } from "@standard-schema/spec";

import { PermanentError } from "./errors.js";
import { type Logger, type StepLogger, withFields } from "./logger.js";

/** One attempt of a step, as its handler sees it. */
export interface Step<Input = unknown, Results extends object = Record<string, unknown>> {
  /** The task's input. */
  readonly input: Input;
  /** The results of the steps that this one depends on, by name. */
  readonly results: Results;
  /**
   * Aborts when the attempt's result is no longer wanted: its lease is lost, its task is cancelled, its time is over, or
   * the worker is stopping and cannot wait any longer. Pass it to `fetch` and everything else that takes a signal.
   */
  readonly signal: AbortSignal;
  /**
   * The step's idempotency key, the same in every attempt. Send it to systems that must carry out a request once.
   */
  readonly key: string;
  /** The number of this attempt, from 1. */
  readonly attempt: number;
  /** The largest number of attempts. */
  readonly maxAttempts: number;
  /** When the attempt must end. The signal aborts then. */
  readonly deadline: Date;
  /** The template's settings for the handler (`handler.initialization`). */
  readonly initialization: Readonly<Record<string, unknown>>;
  /** The task's id. */
  readonly taskId: string;
  /** The step's name, unique in its task. */
  readonly name: string;
  /** The task's namespace. */
  readonly namespace: string;
  /** The name of the task's template. */
  readonly template: string;
  /** The version of the task's template. */
  readonly templateVersion: string;
  /** The name of the handler in the template. */
  readonly callable: string;
  /** The element for which this child of a step with `map` runs. */
  readonly item: unknown;
  /** The payload of the signal for which the step waited. Undefined if it did not arrive in time. */
  readonly received: unknown;
  /** The value that an earlier attempt stored with {@link Wait}. */
  readonly checkpoint: unknown;
  /** The place of the attempt in a trace (W3C Trace Context). Undefined if the task is in no trace. */
  readonly traceparent: string | undefined;
  /** Logs to the logger of the worker, with the fields `task`, `step`, `attempt` and `traceparent`. */
  readonly log: StepLogger;
}

/** A function that runs a step and returns its result: a JSON value, which may contain `bigint`. */
export type HandlerFunction<Input, Results extends object, Result> = (
  step: Step<Input, Results>,
) => Result | PromiseLike<Result>;

/** Schemas by the name of a step. */
export type ResultSchemas = Readonly<Record<string, StandardSchemaV1>>;

/** Schemas for what a handler receives, of any library that implements Standard Schema, such as Zod or Valibot. */
export interface Schemas<InputSchema extends StandardSchemaV1, Results extends ResultSchemas> {
  /** The schema of the task's input. */
  input?: InputSchema | undefined;
  /** The schemas of the results of dependencies, by the name of the step. Other results are passed unchecked. */
  results?: Results | undefined;
}

/** What schemas return. */
type Outputs<Results extends ResultSchemas> = {
  [Name in keyof Results]: StandardSchemaV1.InferOutput<Results[Name]>;
};

/** What schemas accept. */
type Inputs<Results extends ResultSchemas> = {
  [Name in keyof Results]: StandardSchemaV1.InferInput<Results[Name]>;
};

/**
 * A handler with its callable name. Pass it to a worker. `Input` and `Results` are the values that it accepts, before
 * schemas transform them.
 */
export interface Handler<Input = unknown, Results = unknown, Result = unknown> {
  /** The name of the handler in templates (`handler.callable`). */
  readonly callable: string;
  /** The schemas of the values that it receives. */
  readonly schemas: { readonly input?: StandardSchemaV1 | undefined; readonly results?: ResultSchemas | undefined };
  /** Runs a step whose values were checked. */
  readonly run: (step: Step) => unknown;
  /** Exists only in types. */
  readonly types?: { readonly input: Input; readonly results: Results; readonly result: Result };
}

/** Creates the handler of a callable. */
export function step<Input = unknown, Results extends object = Record<string, unknown>, Result = unknown>(
  callable: string,
  run: HandlerFunction<Input, Results, Result>,
): Handler<Input, Results, Result>;
/**
 * Creates the handler of a callable. An input or a result that does not fit its schema fails the step with a permanent
 * error of kind `bad_input`.
 */
export function step<InputSchema extends StandardSchemaV1, Results extends ResultSchemas, Result = unknown>(
  callable: string,
  schemas: Schemas<InputSchema, Results>,
  run: HandlerFunction<StandardSchemaV1.InferOutput<InputSchema>, Outputs<Results>, Result>,
): Handler<StandardSchemaV1.InferInput<InputSchema>, Inputs<Results>, Result>;
export function step(
  callable: string,
  schemasOrRun: Handler["schemas"] | Handler["run"],
  run?: Handler["run"],
): Handler {
  // Code without types can pass anything.
  if (typeof callable !== "string" || callable === "") {
    throw new TypeError(`the name of a handler must be a text that is not empty, but is ${inspect(callable)}`);
  }
  if (typeof schemasOrRun === "function") {
    return { callable, schemas: {}, run: schemasOrRun };
  }
  if (typeof run !== "function") {
    throw new TypeError(`the handler of ${callable} is missing: step(callable, schemas, handler)`);
  }
  return { callable, schemas: schemasOrRun, run };
}

/** A step as the runtime sends it. */
export interface StepFields {
  task_id: string;
  step: string;
  namespace: string;
  template: string;
  template_version: string;
  callable: string;
  key: string;
  attempt: number;
  max_attempts: number;
  timeout_ms: number;
  input: unknown;
  results: Record<string, unknown>;
  initialization: Record<string, unknown>;
  item?: unknown;
  signal?: unknown;
  checkpoint?: unknown;
  traceparent?: string;
}

/** What identifies an attempt in a log. */
export function logFields({ task_id, step, attempt, traceparent }: StepFields): object {
  return { task: task_id, step, attempt, ...(traceparent !== undefined && { traceparent }) };
}

/** Checks what a handler receives and runs it. */
export async function runHandler(
  handler: Handler,
  fields: StepFields,
  signal: AbortSignal,
  logger: Logger,
): Promise<unknown> {
  const deadline = new Date(Date.now() + fields.timeout_ms);
  const { input: inputSchema, results: resultSchemas } = handler.schemas;
  let { input, results } = fields;
  if (inputSchema !== undefined) {
    input = await checked(inputSchema, input, "the task's input");
  }
  if (resultSchemas !== undefined) {
    results = { ...results };
    for (const [name, schema] of Object.entries(resultSchemas)) {
      if (!Object.hasOwn(results, name)) {
        const message =
          `step ${fields.step} does not depend on a step ${name}; ` +
          `see \`dependencies\` in template ${fields.template} ${fields.template_version}`;
        throw new PermanentError(message, { kind: "bad_input" });
      }
      results[name] = await checked(schema, results[name], `the result of step ${name}`);
    }
  }
  return handler.run({
    input,
    results,
    signal,
    deadline,
    key: fields.key,
    attempt: fields.attempt,
    maxAttempts: fields.max_attempts,
    initialization: fields.initialization,
    taskId: fields.task_id,
    name: fields.step,
    namespace: fields.namespace,
    template: fields.template,
    templateVersion: fields.template_version,
    callable: fields.callable,
    item: fields.item,
    received: fields.signal,
    checkpoint: fields.checkpoint,
    traceparent: fields.traceparent,
    log: withFields(logger, logFields(fields)),
  });
}

async function checked(schema: StandardSchemaV1, value: unknown, what: string): Promise<unknown> {
  const result = await schema["~standard"].validate(value);
  if (result.issues === undefined) {
    return result.value;
  }
  const issues = result.issues.map(({ path = [], message }) => {
    const place = path.map((part) => String(typeof part === "object" ? part.key : part)).join(".");
    return place === "" ? message : `${place}: ${message}`;
  });
  throw new PermanentError(`${what}: ${issues.join("; ")}`, { kind: "bad_input" });
}
