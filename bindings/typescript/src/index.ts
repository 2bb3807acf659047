/**
 * Workers and clients for Tasker, durable workflows on PostgreSQL.
 *
 * ```ts
 * const greet = step("hello.greet", ({ input }: Step<{ name: string }>) => `Hello, ${input.name}`);
 * await new Worker({ templates: "templates", steps: [greet] }).run();
 * ```
 *
 * `@tasker-systems/tasker/testing` runs a handler without a server. {@link Client} creates tasks and waits for them.
 *
 * @module
 */

export { Client, type ClientOptions, type CreateOptions, type Task, type TaskStep } from "./client.js";
export {
  ApiError,
  HandlerError,
  type HandlerErrorOptions,
  PermanentError,
  RetryableError,
  type RetryableErrorOptions,
  StartError,
  TaskerError,
  UnhealthyError,
  Wait,
  type WaitOptions,
} from "./errors.js";
export type { Logger, StepLogger } from "./logger.js";
export { type Handler, type HandlerFunction, type ResultSchemas, type Schemas, type Step, step } from "./step.js";
export { Worker, type WorkerOptions } from "./worker.js";
