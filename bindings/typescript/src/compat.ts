/**
 * The handlers of tasker-core's TypeScript library, for code that was written for it.
 *
 * A handler moves by changing its import to `@tasker-systems/tasker/compat`. Functions become handlers with
 * `defineHandler`. Classes become handlers with `toHandler`:
 *
 * ```ts
 * const worker = new Worker({ templates: "templates", steps: [PayHandler, toHandler(ShipHandler)] });
 * ```
 *
 * @module
 */

import * as errors from "./errors.js";
import { type Handler, type Step, step } from "./step.js";

/** Every attempt would fail. `metadata` is ignored. */
export class PermanentError extends errors.PermanentError {
  constructor(message: string, _metadata?: Record<string, unknown>) {
    super(message, { kind: ErrorType.PERMANENT_ERROR });
  }
}

/** Another attempt may succeed. `metadata` is ignored. */
export class RetryableError extends errors.RetryableError {
  constructor(message: string, _metadata?: Record<string, unknown>) {
    super(message, { kind: ErrorType.RETRYABLE_ERROR });
  }
}

/** What a function of `defineHandler` receives: its arguments by name, and `context`. */
export type Arguments<Names extends string> = Record<Names, unknown> & { context: StepContext };

/** Where the arguments of a function come from. */
export interface Definition<Depends extends string, Inputs extends string> {
  /** The step whose result an argument is. It is null if this step does not depend on that one. */
  depends?: Record<Depends, string>;
  /** The field of the task's input that an argument is. It is undefined if the input does not have it. */
  inputs?: Record<Inputs, string>;
  /** Is ignored. */
  version?: string;
}

/** Creates a handler from a function that receives its arguments by name. It may return a {@link StepHandlerResult}. */
export function defineHandler<Result, Depends extends string = never, Inputs extends string = never>(
  name: string,
  definition: Definition<Depends, Inputs>,
  run: (args: Arguments<Depends | Inputs>) => Result | PromiseLike<Result>,
): Handler<unknown, Record<string, unknown>, Result> {
  const depends = Object.entries<string>(definition.depends ?? {});
  const inputs = Object.entries<string>(definition.inputs ?? {});
  return step(name, async (attempt: Step) => {
    const context = new StepContext(attempt);
    const result = await run({
      ...Object.fromEntries(depends.map(([argument, source]) => [argument, context.getDependencyResult(source)])),
      ...Object.fromEntries(inputs.map(([argument, field]) => [argument, context.getInput(field)])),
      context,
    } as Arguments<Depends | Inputs>);
    return (result instanceof StepHandlerResult ? returned(result) : result) as Result;
  });
}

/** The attempt of a step, with the names of tasker-core. */
export class StepContext {
  /** The attempt. */
  readonly step: Step;

  constructor(attempt: Step) {
    this.step = attempt;
  }

  /** The task's input. */
  get inputData(): Record<string, unknown> {
    return this.step.input as Record<string, unknown>;
  }

  /** The results of the dependencies, by name. */
  get dependencyResults(): Record<string, unknown> {
    return this.step.results;
  }

  /** The template's settings for the handler. */
  get stepConfig(): Readonly<Record<string, unknown>> {
    return this.step.initialization;
  }

  /** The same settings. Those of a batch worker have its cursor. */
  get stepInputs(): Readonly<Record<string, unknown>> {
    return this.step.initialization;
  }

  /** The task's id. */
  get taskUuid(): string {
    return this.step.taskId;
  }

  /** The number of attempts before this one. */
  get retryCount(): number {
    return this.step.attempt - 1;
  }

  /** The largest number of attempts. */
  get maxRetries(): number {
    return this.step.maxAttempts;
  }

  /** Returns a field of the task's input. */
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- as in tasker-core
  getInput<Value = unknown>(field: string): Value | undefined {
    return this.inputData[field] as Value | undefined;
  }

  /** Returns a field of the task's input, or the default. */
  getInputOr<Value = unknown>(field: string, value: Value): Value {
    return (this.inputData[field] ?? value) as Value;
  }

  /** Returns a part of the result of a dependency, or null. */
  getDependencyField(name: string, ...path: string[]): unknown {
    let value: unknown = this.getDependencyResult(name);
    for (const key of path) {
      value = (value as Record<string, unknown> | null)?.[key] ?? null;
    }
    return value;
  }

  /** Returns the result of a dependency, or null. */
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- as in tasker-core
  getDependencyResult<Value = unknown>(name: string): Value | null {
    return (this.step.results[name] ?? null) as Value | null;
  }
}

/** Kinds of errors. */
export const ErrorType = {
  PERMANENT_ERROR: "permanent_error",
  RETRYABLE_ERROR: "retryable_error",
  VALIDATION_ERROR: "validation_error",
  TIMEOUT: "timeout",
  HANDLER_ERROR: "handler_error",
} as const;

/** What `call` of a handler returns. `metadata` is ignored. */
export class StepHandlerResult {
  private constructor(
    readonly success: boolean,
    readonly result: unknown,
    readonly errorMessage = "",
    readonly errorType = "",
    readonly retryable = false,
  ) {}

  /** The step has completed. */
  static success(result: unknown, _metadata?: Record<string, unknown>): StepHandlerResult {
    return new StepHandlerResult(true, result);
  }

  /** The attempt has failed. */
  static failure(
    message: string,
    errorType: string = ErrorType.HANDLER_ERROR,
    retryable = true,
    _metadata?: Record<string, unknown>,
  ): StepHandlerResult {
    return new StepHandlerResult(false, null, message, errorType, retryable);
  }
}

/** Returns the result of a step, or throws its error. */
function returned({ success, result, errorMessage, errorType: kind, retryable }: StepHandlerResult): unknown {
  if (success) {
    return result;
  }
  const ErrorClass = retryable ? errors.RetryableError : errors.PermanentError;
  throw new ErrorClass(errorMessage, { kind });
}

/** The base class of handlers. */
export abstract class StepHandler {
  /** The name of the handler in templates. */
  static handlerName: string;

  /** Runs a step. */
  abstract call(context: StepContext): Promise<StepHandlerResult>;

  /** The step has completed. `metadata` is ignored. */
  protected success(result: unknown, metadata?: Record<string, unknown>): StepHandlerResult {
    return StepHandlerResult.success(result, metadata);
  }

  /** The attempt has failed. `metadata` is ignored. */
  protected failure(
    message: string,
    errorType: string = ErrorType.HANDLER_ERROR,
    retryable = true,
    metadata?: Record<string, unknown>,
  ): StepHandlerResult {
    return StepHandlerResult.failure(message, errorType, retryable, metadata);
  }
}

/** Makes a handler of a class. Each attempt has an instance of its own. */
export function toHandler(handlerClass: (new () => StepHandler) & { handlerName: string }): Handler {
  return step(handlerClass.handlerName, async (attempt: Step) =>
    returned(await new handlerClass().call(new StepContext(attempt))),
  );
}
