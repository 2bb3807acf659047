// Made from the OpenAPI document by scripts/types.mjs. Do not edit.

/** The response to `POST /v1/templates`: 201 if the version is new, 200 if it already existed. */
export type AppliedTemplate = {
  /** The template's name. */
  name: string;
  /** The template's namespace. */
  namespace: string;
  /** The outcome. */
  outcome: TemplateOutcome;
  /** The template's version. */
  version: string;
  /** The parts of the template that Tasker ignores. */
  warnings: FieldError[];
};

/** The request `POST /v1/tasks`. */
export type CreateTask = {
  /** The input of the task. It must match the `input_schema` of the template, and every step can read it. */
  context: Record<string, unknown>;
  /** Makes the request safe to repeat. The same request with the same key returns the existing task; another
   * request with the same key is a conflict. Keys are shared by all templates. */
  idempotency_key?: string | null;
  /** The template's name. */
  name: string;
  /** The template's namespace. */
  namespace: string;
  /** 0 by default. The step that has waited longest starts first, and each point of priority counts as ten
   * seconds of waiting. */
  priority?: number | null;
  /** Labels for your own use: an array of strings, or an object whose values are strings */
  tags?: string[] | Record<string, string> | null;
  /** The template's version. If absent, the newest one. */
  version?: string | null;
};

/** One wrong place in a request. */
export type FieldError = {
  /** What is wrong there. */
  message: string;
  /** The place: a JSON pointer (RFC 6901) into the `context` of the request, or `line:column` in a template. */
  pointer: string;
};

/** The response to `GET /health`. */
export type Health = {
  /** The checks by name, such as `database`. */
  checks: Record<string, HealthCheck>;
  /** Healthy if every check is healthy. */
  status: HealthStatus;
};

/** One check of a [`Health`]. */
export type HealthCheck = {
  /** What is wrong, if something is. */
  message?: string | null;
  /** Whether the checked part works. */
  status: HealthStatus;
};

/** Whether something works. */
export type HealthStatus = "healthy" | "unhealthy";

/** `GET /v1/namespaces`. */
export type NamespaceList = {
  /** All namespaces, by name. */
  namespaces: NamespaceSummary[];
};

/** A namespace and its queue. */
export type NamespaceSummary = {
  /** The namespace. */
  namespace: string;
  /** The name of its PGMQ queue. */
  queue: string;
  /** How many templates it has. Each version counts. */
  templates: number;
};

/** The request of an action such as `POST /v1/tasks/{task_uuid}/cancel`. The body may be empty. */
export type OperatorAction = {
  /** Who acts. The history records it. */
  actor?: string | null;
  /** Why. The history records it. */
  reason?: string | null;
};

/** How PGMQ is installed in the database. */
export type PgmqInfo = {
  /** `extension`, or `sql` if PostgreSQL does not offer the extension. */
  installed_as: string;
  /** PGMQ's version. */
  version: string;
};

/** A problem document (RFC 9457): what was wrong, where, and what to do. */
export type Problem = {
  /** What was wrong with this request, and what to do about it. */
  detail: string;
  /** The wrong places in the request, if they are known. */
  errors?: FieldError[];
  /** The HTTP status code. */
  status: number;
  /** The kind in a few words. It is the same for all problems of the kind. */
  title: string;
  /** The kind of the problem: a stable name, written as a URI reference such as `/problems/template-not-found`. */
  type: string;
};

/** The request `POST /v1/tasks/{task_uuid}/steps/{name}/resolve`. */
export type ResolveStep = {
  /** Who acts. The history records it. */
  actor?: string | null;
  /** Why. The history records it. */
  reason?: string | null;
  /** The result of the step: any JSON value of at most 1 MiB. */
  result: unknown;
};

/** A step of a task. */
export type StepDetail = {
  /** How many attempts have started since the last retry by an operator. */
  attempts: number;
  /** When it completed, failed finally, or was cancelled. */
  completed_at?: string | null;
  /** The names of the steps that it waits for. */
  dependencies: string[];
  /** Why its last attempt failed: an object with `kind` and `message`. */
  error?: Record<string, unknown> | null;
  /** The most attempts that are allowed. */
  max_attempts: number;
  /** The step's name, unique in its task. */
  name: string;
  /** Its result: any JSON value. */
  result: unknown;
  /** When its last attempt started. */
  started_at?: string | null;
  /** Its state. */
  status: StepState;
  /** The worker of its last attempt. */
  worker_id?: string | null;
};

/** The response to `GET /v1/tasks/{task_uuid}/steps`. */
export type StepList = {
  /** The steps in the order of the template. */
  steps: StepDetail[];
};

/** The state of a step. */
export type StepState = "pending" | "enqueued" | "in_progress" | "waiting_for_retry" | "completed" | "failed" | "cancelled" | "resolved_manually";

/** `GET /v1/system/info`. */
export type SystemInfo = {
  /** How PGMQ is installed. */
  pgmq: PgmqInfo;
  /** PostgreSQL's version. */
  postgresql_version: string;
  /** The number of the newest migration of the database. */
  schema_version: number;
  /** When this server started. */
  started_at: string;
  /** Tasker's version. */
  version: string;
};

/** The response to `GET /v1/tasks/{task_uuid}`. */
export type TaskDetail = TaskSummary & {
  /** The input of the task. */
  context: Record<string, unknown>;
  /** Its steps in the order of the template. */
  steps: StepDetail[];
};

/** The response to `GET /v1/tasks`: the newest tasks first. */
export type TaskList = {
  /** The cursor of the next page. Absent on the last page. */
  next_cursor?: string | null;
  /** One page of tasks. */
  tasks: TaskSummary[];
};

/** The state of a task. */
export type TaskState = "pending" | "in_progress" | "blocked_by_failures" | "completed" | "failed" | "cancelled";

/** A task without its input and steps. */
export type TaskSummary = {
  /** When it became final. */
  completed_at?: string | null;
  /** How many steps have a result. */
  completed_steps: number;
  /** The percentage of steps that have a result, rounded down. */
  completion_percentage: number;
  /** When it was created. */
  created_at: string;
  /** How many steps have failed. */
  failed_steps: number;
  /** The template's name. */
  name: string;
  /** The template's namespace. */
  namespace: string;
  /** Its priority. */
  priority: number;
  /** When its first step started. */
  started_at?: string | null;
  /** Its state. */
  status: TaskState;
  /** Labels for your own use: an array of strings, or an object whose values are strings */
  tags?: string[] | Record<string, string> | null;
  /** The id of the task. It is a UUIDv7, so ids sort by the time of creation. */
  task_uuid: string;
  /** How many steps it has. */
  total_steps: number;
  /** The template's version. */
  version: string;
};

/** The response to `GET /v1/templates/{namespace}/{name}`. */
export type TemplateDetail = TemplateSummary & {
  /** The whole template as JSON. */
  definition: Record<string, unknown>;
};

/** The response to `GET /v1/templates`. */
export type TemplateList = {
  /** All versions of all templates, sorted by namespace, name and version. The newest version comes first. */
  templates: TemplateSummary[];
};

/** The outcome of storing a template. */
export type TemplateOutcome = "created" | "unchanged";

/** One version of a template. */
export type TemplateSummary = {
  /** When it was stored. */
  created_at: string;
  /** What the template is for. */
  description?: string | null;
  /** The name. */
  name: string;
  /** The namespace. */
  namespace: string;
  /** How many steps it has. */
  total_steps: number;
  /** The version. */
  version: string;
};

/** A state change of a task or of one of its steps. */
export type Transition = {
  /** The worker or operator that caused the change. */
  actor?: string | null;
  /** When the state changed. */
  at: string;
  /** The attempt that changed the state. */
  attempt?: number | null;
  /** The previous state. Absent for the creation. */
  from?: string | null;
  /** Why. */
  reason?: string | null;
  /** The step. Absent if the task itself changed. */
  step?: string | null;
  /** The new state. */
  to: string;
};

/** The response to `GET /v1/tasks/{task_uuid}/transitions`. */
export type TransitionList = {
  /** All state changes, the oldest first. */
  transitions: Transition[];
};

/** The response to `GET /v1/workers`. */
export type WorkerList = {
  /** The workers that have sent a heartbeat, sorted by id. */
  workers: WorkerSummary[];
};

/** What a worker is doing. */
export type WorkerState = "running" | "draining" | "stopped" | "lost";

/** A worker in the database. */
export type WorkerSummary = {
  /** The host that it runs on. */
  host: string;
  /** When its last heartbeat arrived. */
  last_heartbeat_at: string;
  /** The most steps that it runs at once. */
  max_concurrent: number;
  /** The namespaces that it serves. */
  namespaces: string[];
  /** When it started. */
  started_at: string;
  /** What it is doing. */
  status: WorkerState;
  /** Its version of Tasker. */
  version: string;
  /** Its name, unique among running workers. */
  worker_id: string;
};
