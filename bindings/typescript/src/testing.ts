/**
 * Runs handlers in tests, without a server or a database.
 *
 * @module
 */

import { randomUUID } from "node:crypto";

import { PermanentError, RetryableError, Wait } from "./errors.js";
import { encodeError, encodeResult, parse } from "./json.js";
import { type Logger } from "./logger.js";
import { checkOutcome } from "./native.js";
import { type Handler, runHandler } from "./step.js";

/** The step that a test runs. */
export interface TestStep<Input = unknown, Results = unknown> {
  /** The task's input. Otherwise `{}`. */
  input?: Input | undefined;
  /** The results of the dependencies, by name. */
  results?: Results | undefined;
  /** The template's settings for the handler. */
  initialization?: Record<string, unknown> | undefined;
  /** The element of a child of a step with `map`. */
  item?: unknown;
  /** The payload of the signal for which the step waited. */
  received?: unknown;
  /** The value that an earlier attempt stored. */
  checkpoint?: unknown;
  /** The number of the attempt, from 1. */
  attempt?: number | undefined;
  /** The largest number of attempts. */
  maxAttempts?: number | undefined;
  /** The time until the deadline, in milliseconds. The test itself aborts `signal`. */
  timeoutMs?: number | undefined;
  /** The task's id. Otherwise a random one. */
  taskId?: string | undefined;
  /** The step's name. */
  name?: string | undefined;
  /** Cancels the attempt. */
  signal?: AbortSignal | undefined;
  /** The place of the attempt in a trace. */
  traceparent?: string | undefined;
  /** Where the handler logs. Otherwise `console`. */
  logger?: Logger | undefined;
}

/**
 * Runs a handler as a worker would, and returns its result after its way through JSON. Input and results go the same way.
 *
 * @throws PermanentError or RetryableError, like those that the step would fail with. The `cause` is the error of the
 * handler. A handler that waits throws its {@link Wait}.
 */
export async function run<Input, Results, Result>(
  handler: Handler<Input, Results, Result>,
  step: TestStep<Input, Results> = {},
): Promise<Result> {
  const { name = "step", taskId = randomUUID() } = step;
  const fields = {
    task_id: taskId,
    step: name,
    namespace: "testing",
    template: "testing",
    template_version: "1.0.0",
    callable: handler.callable,
    key: `${taskId}/${name}`,
    attempt: step.attempt ?? 1,
    max_attempts: step.maxAttempts ?? 3,
    timeout_ms: step.timeoutMs ?? 300_000,
    input: checked(encodeResult(step.input ?? {})),
    results: checked(encodeResult(step.results ?? {})) as Record<string, unknown>,
    initialization: checked(encodeResult(step.initialization ?? {})) as Record<string, unknown>,
    item: optional(step.item),
    signal: optional(step.received),
    checkpoint: optional(step.checkpoint),
    ...(step.traceparent !== undefined && { traceparent: step.traceparent }),
  };
  const signal = step.signal ?? new AbortController().signal;
  let outcome: string;
  try {
    outcome = encodeResult(await runHandler(handler, fields, signal, step.logger ?? console));
  } catch (error) {
    if (error instanceof Wait) {
      // It throws if the checkpoint cannot be stored.
      checked(encodeError(error), error);
      throw error;
    }
    return checked(encodeError(error), error) as Result;
  }
  return checked(outcome) as Result;
}

/** A value after its way through JSON, if there is one. */
function optional(value: unknown): unknown {
  return value === undefined ? undefined : checked(encodeResult(value));
}

interface Outcome {
  result: unknown;
  error?: { kind: string; message: string; permanent?: boolean; retry_after_ms?: number | null };
}

/** Returns the result that the runtime would store, or throws the error that the step would fail with. */
function checked(outcome: string, cause?: unknown): unknown {
  const { result, error } = parse(checkOutcome(outcome)) as Outcome;
  if (error === undefined) {
    return result;
  }
  const { kind, message, permanent, retry_after_ms } = error;
  if (cause instanceof Wait && kind === "waiting") {
    return undefined;
  }
  if (permanent === true) {
    throw new PermanentError(message, { kind, cause });
  }
  throw new RetryableError(message, { kind, cause, retryAfterMs: retry_after_ms ?? undefined });
}
