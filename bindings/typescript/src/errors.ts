/** The errors that handlers throw, and those of the library. */

/** The base class of all errors of this library. */
export class TaskerError extends Error {
  override name = this.constructor.name;
}

/** The worker cannot start. The message says why and what to do. */
export class StartError extends TaskerError {
  /**
   * The exit code for a program that stops with this error: 4 if the database must be migrated, 5 if it is too new for
   * this library, otherwise 1.
   */
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** The worker does not respond, or is not healthy. The message says why. */
export class UnhealthyError extends TaskerError {}

/** The server refused a request, or could not be reached. */
export class ApiError extends TaskerError {
  /** The HTTP status, or 0 if there was no response. */
  readonly status: number;
  /** The problem document of the response (RFC 9457). */
  readonly problem: Readonly<Record<string, unknown>>;

  constructor(message: string, status = 0, problem: Record<string, unknown> = {}, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
    this.problem = problem;
  }
}

/** Options of the errors that handlers throw. */
export interface HandlerErrorOptions extends ErrorOptions {
  /** A stable name for programs, such as `card_declined`. Otherwise `error`. */
  kind?: string | undefined;
}

/** The base class of the errors that handlers throw. */
export abstract class HandlerError extends TaskerError {
  /** The kind of error: a stable name for programs, such as `card_declined`. */
  readonly kind: string;

  constructor(message: string, options: HandlerErrorOptions = {}) {
    super(message, options);
    this.kind = options.kind ?? "error";
  }
}

/** Options of a {@link Wait}. */
export interface WaitOptions {
  /** The longest time, in milliseconds. Otherwise until the signal arrives. */
  delayMs?: number | undefined;
  /** The name of the signal that ends the wait. */
  signal?: string | undefined;
  /** A JSON value for the next attempt, which finds it in `step.checkpoint`. Otherwise it has that of this attempt. */
  checkpoint?: unknown;
}

/**
 * Thrown by a handler whose step continues later. Nothing failed, and the attempt does not count. Until then the step
 * needs no worker. Without a delay and a signal, it continues at once.
 */
export class Wait extends TaskerError {
  /** The longest time, in milliseconds. */
  readonly delayMs: number | undefined;
  /** The name of the signal that ends the wait. */
  readonly signal: string | undefined;
  /** A JSON value for the next attempt. */
  readonly checkpoint: unknown;

  constructor(options: WaitOptions = {}) {
    super("the step waits");
    const { delayMs, signal, checkpoint } = options;
    if (delayMs !== undefined && !(delayMs >= 0 && delayMs <= 1e12)) {
      throw new RangeError(`delayMs must be from 0 to 1e12 milliseconds, but is ${String(delayMs)}`);
    }
    this.delayMs = delayMs;
    this.signal = signal;
    this.checkpoint = checkpoint;
  }
}

/** Every attempt would fail, so the step fails at once. */
export class PermanentError extends HandlerError {}

/** Options of a {@link RetryableError}. */
export interface RetryableErrorOptions extends HandlerErrorOptions {
  /** The time until the next attempt, in milliseconds. It replaces the delay of the step's retry policy. */
  retryAfterMs?: number | undefined;
}

/**
 * Another attempt may succeed. The step's retry policy decides whether and when there is one.
 *
 * Every other error counts as a `RetryableError` whose kind is the name of its class.
 */
export class RetryableError extends HandlerError {
  /** The time until the next attempt, in milliseconds, or undefined for the delay of the step's retry policy. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, options: RetryableErrorOptions = {}) {
    super(message, options);
    const { retryAfterMs } = options;
    if (retryAfterMs !== undefined && !(retryAfterMs >= 0 && retryAfterMs <= 1e12)) {
      throw new RangeError(`retryAfterMs must be from 0 to 1e12 milliseconds, but is ${String(retryAfterMs)}`);
    }
    this.retryAfterMs = retryAfterMs;
  }
}
