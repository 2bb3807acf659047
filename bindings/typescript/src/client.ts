/** A client for the API of the server. */

import { ApiError } from "./errors.js";
import { messageOf, parse, stringify } from "./json.js";

/** The longest time that one request waits, in milliseconds. The server allows 60,000. */
const MAX_WAIT_MS = 30_000;
/** How long the server may take to respond besides the time that it waits, in milliseconds. */
const TIMEOUT_MS = 30_000;

/** A task with its steps. */
export interface Task {
  /** The task's id. */
  id: string;
  namespace: string;
  /** The name of the template. */
  name: string;
  /** The version of the template. */
  version: string;
  /** `pending`, `in_progress`, `blocked_by_failures`, `completed` or `cancelled`. */
  status: string;
  createdAt: Date;
  /** The task's input. */
  context: Record<string, unknown>;
  steps: TaskStep[];
}

/** A step of a task. */
export interface TaskStep {
  /** The step's name, unique in its task. */
  name: string;
  status: string;
  /** How many attempts have started. */
  attempts: number;
  /** The result of a completed step, otherwise undefined. */
  result: unknown;
  /** The error of the last attempt that failed, with `kind` and `message`. */
  error: Record<string, unknown> | undefined;
}

/** Options of a client. */
export interface ClientOptions {
  /** The API key, for servers that need one. */
  apiKey?: string | undefined;
}

/** Options of a new task. */
export interface CreateOptions {
  /** The version of the template. Otherwise the newest. */
  version?: string | undefined;
  /** A repeated request with the same key returns the same task. */
  idempotencyKey?: string | undefined;
  /** Tasks with a higher priority start first. */
  priority?: number | undefined;
  /** Tags to find the task by. */
  tags?: readonly string[] | undefined;
  /** The place in a trace where the task continues it (W3C Trace Context). */
  traceparent?: string | undefined;
}

/** Creates tasks, waits for them and cancels them. */
export class Client {
  readonly #url: string;
  readonly #headers: Record<string, string> = { accept: "application/json", "content-type": "application/json" };

  /** Creates a client of the server at `url`. */
  constructor(url = "http://127.0.0.1:8080", options: ClientOptions = {}) {
    if (!isServer(url)) {
      throw new TypeError(`"${url}" is not the URL of a server, such as http://127.0.0.1:8080`);
    }
    this.#url = url.replace(/\/+$/, "");
    if (options.apiKey !== undefined) {
      this.#headers["x-api-key"] = options.apiKey;
    }
  }

  /**
   * Creates a task, and returns its id once it is stored.
   *
   * @param context - The task's input.
   */
  async create(
    namespace: string,
    name: string,
    context: object = {},
    { version, idempotencyKey, priority, tags, traceparent }: CreateOptions = {},
  ): Promise<string> {
    const body = { namespace, name, context, version, idempotency_key: idempotencyKey, priority, tags };
    const headers: Record<string, string> = traceparent === undefined ? {} : { traceparent };
    const created = (await this.#request("POST", "/v1/tasks", body, { headers })) as { task_uuid: string };
    return created.task_uuid;
  }

  /** Returns a task as it is now. */
  async get(taskId: string): Promise<Task> {
    return toTask(await this.#request("GET", `/v1/tasks/${encodeURIComponent(taskId)}`));
  }

  /**
   * Waits until a task has ended or is blocked by failures, and returns it.
   *
   * @param options - `signal` ends the wait, for example `AbortSignal.timeout(30_000)`.
   */
  async wait(taskId: string, options: { signal?: AbortSignal | undefined } = {}): Promise<Task> {
    const path = `/v1/tasks/${encodeURIComponent(taskId)}?wait=${String(MAX_WAIT_MS)}ms`;
    for (;;) {
      const task = toTask(await this.#request("GET", path, undefined, { ...options, waitMs: MAX_WAIT_MS }));
      if (task.status !== "pending" && task.status !== "in_progress") {
        return task;
      }
    }
  }

  /** Cancels a task. `reason` is a part of its history. */
  async cancel(taskId: string, options: { reason?: string | undefined } = {}): Promise<void> {
    await this.#request("POST", `/v1/tasks/${encodeURIComponent(taskId)}/cancel`, { reason: options.reason });
  }

  /** Sends a signal to a task. The first signal of a name is kept. The same one again changes nothing. */
  async signal(taskId: string, name: string, payload: unknown = null): Promise<void> {
    const path = `/v1/tasks/${encodeURIComponent(taskId)}/signals/${encodeURIComponent(name)}`;
    await this.#request("POST", path, { payload });
  }

  async #request(
    method: string,
    path: string,
    body?: object,
    { signal, waitMs = 0, headers }: RequestOptions = {},
  ): Promise<unknown> {
    const what = `${method} ${this.#url}${path}`;
    const sent = body === undefined ? null : encode(what, body);
    const timeout = AbortSignal.timeout(TIMEOUT_MS + waitMs);
    let response: Response;
    let text: string;
    try {
      response = await fetch(this.#url + path, {
        method,
        headers: { ...this.#headers, ...headers },
        body: sent,
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      });
      text = await response.text();
    } catch (error) {
      signal?.throwIfAborted();
      // `fetch` says why in the cause of its error.
      const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
      throw new ApiError(`${what}: no response: ${messageOf(cause)}`, 0, {}, { cause: error });
    }
    let content: unknown;
    try {
      content = text === "" ? undefined : parse(text);
    } catch (error) {
      throw new ApiError(
        `${what}: the response is not JSON: ${messageOf(error)}`,
        response.status,
        {},
        { cause: error },
      );
    }
    if (!response.ok) {
      const problem = (content ?? {}) as Record<string, unknown>;
      const reasons = [problem["title"], problem["detail"]].filter((reason) => typeof reason === "string");
      const reason = reasons.length > 0 ? reasons.join(": ") : response.statusText;
      throw new ApiError(`${what}: ${String(response.status)} ${reason}`, response.status, problem);
    }
    return content;
  }
}

/** Whether a URL can be that of a server. `fetch` refuses URLs with a user. */
function isServer(url: string): boolean {
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
    return false;
  }
  const { username, password } = new URL(url);
  return username === "" && password === "";
}

function encode(what: string, body: object): string {
  try {
    return stringify(body);
  } catch (error) {
    throw new TypeError(`${what}: what is sent must be JSON: ${messageOf(error)}`, { cause: error });
  }
}

interface RequestOptions {
  signal?: AbortSignal | undefined;
  /** How long the server waits before it responds. */
  waitMs?: number;
  headers?: Record<string, string>;
}

/** The fields of a response that this client uses. */
interface TaskFields {
  task_uuid: string;
  namespace: string;
  name: string;
  version: string;
  status: string;
  created_at: string;
  context: Record<string, unknown>;
  steps: {
    name: string;
    status: string;
    attempts: number;
    result?: unknown;
    error?: Record<string, unknown> | null;
  }[];
}

function toTask(content: unknown): Task {
  const { task_uuid, namespace, name, version, status, created_at, context, steps } = content as TaskFields;
  return {
    id: task_uuid,
    namespace,
    name,
    version,
    status,
    createdAt: new Date(created_at),
    context,
    steps: steps.map((step) => ({
      name: step.name,
      status: step.status,
      attempts: step.attempts,
      result: step.result,
      error: step.error ?? undefined,
    })),
  };
}
