/** Workers: they run the steps of tasks with functions. */

import { inspect } from "node:util";

import { HandlerError, StartError, UnhealthyError, Wait } from "./errors.js";
import { encodeError, encodeResult, parse } from "./json.js";
import { type Logger } from "./logger.js";
import { checkHealth, type NativeEvent, type NativeWorker, start } from "./native.js";
import { type Handler, logFields, runHandler, type StepFields } from "./step.js";

/** The most events that a worker takes at once. */
const BATCH = 64;

const SIGNALS = ["SIGTERM", "SIGINT"] as const;

/**
 * Options of a worker. Every option that is undefined comes from the environment (`DATABASE_URL`, `TASKER_NAMESPACES`,
 * `TASKER_WORKER_HOST`, `TASKER_WORKER_PORT`, `TASKER_WORKER_ID`), then from the settings file, then from Tasker's
 * defaults.
 */
export interface WorkerOptions {
  /** The handlers. A worker needs handlers for all steps of its templates. */
  steps: readonly Handler[];
  /** Files with task templates (YAML), and folders of them. */
  templates?: string | readonly string[] | undefined;
  /** Namespaces to serve besides those of the templates. */
  namespaces?: readonly string[] | undefined;
  /** The settings file. */
  config?: string | undefined;
  /** `postgres://user:password@host:port/database`. */
  databaseUrl?: string | undefined;
  /** The address of the status API. */
  host?: string | undefined;
  /** The port of the status API; 0 takes a free one. */
  port?: number | undefined;
  /** The name of the worker, unique among running workers. */
  workerId?: string | undefined;
  /** How many steps run at once. */
  maxConcurrent?: number | undefined;
  /** How long a step belongs to the worker without a heartbeat, in milliseconds. */
  leaseMs?: number | undefined;
  /** How long running steps may take to finish at a stop, in milliseconds. */
  shutdownTimeoutMs?: number | undefined;
  /** Which events of the runtime are logged: a level, or directives such as `info,tasker_worker=debug`. */
  logFilter?: string | undefined;
  /** Where the worker logs. Otherwise `console`. */
  logger?: Logger | undefined;
}

/** A running worker. */
interface Running {
  native: NativeWorker;
  /** Settles when all events were taken. */
  dispatched: Promise<void>;
}

/**
 * Runs the steps of tasks with handlers.
 *
 * Leases, retries and the status API (`/health`, `/v1/worker/status`, `/metrics`) are the work of a runtime on threads of
 * its own. So a handler that blocks the event loop does not lose its lease.
 */
export class Worker {
  readonly #options: string;
  readonly #handlers = new Map<string, Handler>();
  readonly #logger: Logger;
  /** The controllers of running steps, by id. */
  readonly #attempts = new Map<number, AbortController>();
  #starting = false;
  #running: Running | undefined;

  /** Creates a worker that is not running. */
  constructor(options: WorkerOptions) {
    for (const handler of options.steps) {
      // Code without types can pass a function, or a class of `compat` without `toHandler`.
      if (typeof handler.callable !== "string" || typeof handler.run !== "function") {
        throw new TypeError(`${inspect(handler)} is not a handler: make one with step(callable, handler)`);
      }
      if (this.#handlers.has(handler.callable)) {
        throw new TypeError(`two handlers are registered as ${handler.callable}`);
      }
      this.#handlers.set(handler.callable, handler);
    }
    this.#logger = options.logger ?? console;
    const { templates } = options;
    // Leaves out what is undefined.
    this.#options = JSON.stringify({
      callables: [...this.#handlers.keys()],
      templates: typeof templates === "string" ? [templates] : templates,
      namespaces: options.namespaces,
      config: options.config,
      database_url: options.databaseUrl,
      host: options.host,
      port: options.port,
      worker_id: options.workerId,
      max_concurrent: options.maxConcurrent,
      lease_ms: options.leaseMs,
      shutdown_timeout_ms: options.shutdownTimeoutMs,
      log_filter: options.logFilter,
    });
  }

  /**
   * Runs until SIGTERM or SIGINT, then stops gracefully. A second signal ends the process at once.
   *
   * If handlers ignore their signals and still run after the stop, it exits the process.
   *
   * @throws StartError if the worker cannot start.
   */
  async run(): Promise<void> {
    let stop: () => void = () => undefined;
    const stopped = new Promise<void>((resolve) => {
      stop = resolve;
    });
    const removeListeners = (): void => {
      for (const signal of SIGNALS) {
        process.removeListener(signal, stop);
      }
    };
    for (const signal of SIGNALS) {
      process.on(signal, stop);
    }
    try {
      await this.start();
      await stopped;
    } finally {
      removeListeners();
    }
    await this.stop();
    if (this.#attempts.size > 0) {
      this.#logger.warn("handlers still run after the stop; exiting", { handlers: this.#attempts.size });
      process.exit();
    }
  }

  /**
   * Asks the worker with the options of this one, which another process on this machine runs, if it is healthy. Use it for
   * the health check of a container.
   *
   * @throws UnhealthyError if it is not, or does not respond within three seconds.
   */
  async checkHealth(): Promise<void> {
    const problem = await checkHealth(this.#options);
    if (problem !== null) {
      throw new UnhealthyError(problem);
    }
  }

  /**
   * Starts to run steps.
   *
   * @throws StartError if the worker cannot start.
   */
  async start(): Promise<void> {
    if (this.#starting || this.#running !== undefined) {
      throw new Error("the worker is running already");
    }
    this.#starting = true;
    try {
      const started = await start(this.#options);
      if ("exitCode" in started) {
        throw new StartError(started.message, started.exitCode);
      }
      this.#running = { native: started, dispatched: this.#dispatch(started) };
    } finally {
      this.#starting = false;
    }
  }

  /**
   * Stops gracefully. Running steps may finish within the shutdown timeout. Then they are cancelled and returned: other
   * workers start them at once, and the attempt does not count.
   */
  async stop(): Promise<void> {
    const running = this.#running;
    if (running !== undefined) {
      await running.native.stop();
      await running.dispatched;
      this.#running = undefined;
    }
  }

  /** Stops gracefully, at the end of `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** The URL of the status API of the running worker, without a path. */
  get url(): string {
    return this.#native().url;
  }

  /** The name under which the running worker is registered. */
  get workerId(): string {
    return this.#native().workerId;
  }

  #native(): NativeWorker {
    if (this.#running === undefined) {
      throw new Error("the worker is not running");
    }
    return this.#running.native;
  }

  /** Takes events until the worker has stopped. */
  async #dispatch(native: NativeWorker): Promise<void> {
    for (;;) {
      const events = await native.next(BATCH);
      if (events === null) {
        return;
      }
      for (const event of events) {
        this.#handle(native, event);
      }
    }
  }

  #handle(native: NativeWorker, { kind, id, json }: NativeEvent): void {
    switch (kind) {
      case "step":
        void this.#run(native, id, json);
        break;
      case "cancelled":
        this.#attempts.get(id)?.abort();
        break;
      case "log":
        this.#log(json);
        break;
      case "stopping":
        break;
    }
  }

  /** Runs an attempt. It rejects only if the logger throws. */
  async #run(native: NativeWorker, id: number, json: string): Promise<void> {
    const controller = new AbortController();
    this.#attempts.set(id, controller);
    let fields: StepFields | undefined;
    let outcome: string;
    let failure: { error: unknown } | undefined;
    try {
      fields = parse(json) as StepFields;
      const handler = this.#handlers.get(fields.callable);
      if (handler === undefined) {
        // The runtime sends only steps of registered callables.
        throw new Error(`there is no handler ${fields.callable}`);
      }
      outcome = encodeResult(await runHandler(handler, fields, controller.signal, this.#logger));
    } catch (error) {
      failure = { error };
      outcome = encodeError(error);
    }
    this.#attempts.delete(id);
    // First of all, because a logger can throw.
    native.complete(id, outcome);
    if (failure !== undefined && !controller.signal.aborted) {
      const { error } = failure;
      if (!(error instanceof HandlerError || error instanceof Wait)) {
        this.#logger.warn("a handler failed", { ...(fields && logFields(fields)), error });
      }
    }
  }

  /** Logs an event of the runtime. */
  #log(json: string): void {
    const { level, target, message, fields } = JSON.parse(json) as LogEvent;
    this.#logger[LEVELS[level]](message, { target, ...fields });
  }
}

interface LogEvent {
  level: keyof typeof LEVELS;
  target: string;
  message: string;
  fields: object;
}

const LEVELS = { ERROR: "error", WARN: "warn", INFO: "info", DEBUG: "debug", TRACE: "debug" } as const;
