// Made from the OpenAPI document by scripts/types.mjs. Do not edit.

export type AnyEvent = {
  /** JSON: `TaskEvent`, `RowEvent`, `GoneEvent`, `Stats`, `WorkerList`, `NewTasksEvent` or `BulkJob`, in the order of the names */
  data: string;
  /** The name of the event */
  event: "task" | "row" | "gone" | "stats" | "workers" | "new" | "bulk";
};

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

/** An attempt of a step. */
export type Attempt = {
  /** The number of the attempt. An operator's retry starts again at 1. */
  attempt: number;
  /** When it ended. Absent while it runs. */
  ended_at?: string | null;
  /** The kind of its error. */
  kind?: string | null;
  /** The message of its error, or another reason for its end. */
  message?: string | null;
  outcome?: StepState | null;
  /** When it started. */
  started_at: string;
  /** The step. */
  step: string;
  /** The worker. */
  worker_id?: string | null;
};

/** The response to `GET /v1/tasks/{task_uuid}/attempts`. */
export type AttemptList = {
  /** The attempts, the oldest first. */
  attempts: Attempt[];
  /** The cursor of the next page. Absent on the last page. */
  next_cursor?: string | null;
};

/** What a bulk job does to each task. */
export type BulkAction = "retry" | "cancel" | "fail";

/** A bulk job. */
export type BulkJob = {
  /** The action. */
  action: BulkAction;
  /** Who acts. */
  actor?: string | null;
  /** When it was created. */
  created_at: string;
  /** How many of them it has changed. */
  done: number;
  /** Why it failed. */
  error?: string | null;
  /** How many matching tasks it has looked at. */
  examined: number;
  /** The tasks. Only tasks that were created before the job. */
  filter: TaskConditions;
  /** When it ended. */
  finished_at?: string | null;
  /** Its id. */
  id: string;
  /** Why. */
  reason?: string | null;
  /** How many of them did not allow the action any more. */
  skipped: number;
  /** Its state. */
  status: BulkStatus;
  /** When its last batch ended. */
  updated_at: string;
};

/** The response to `GET /v1/bulk`. */
export type BulkJobList = {
  /** The newest 100 jobs, the newest first. */
  jobs: BulkJob[];
};

/** The response to a dry run of `POST /v1/bulk`. */
export type BulkPreview = {
  /** Whether all tasks were counted. If not, `matched` means "at least". */
  complete: boolean;
  /** The newest of them, at most five. */
  examples: TaskSummary[];
  /** How many tasks match now. */
  matched: number;
};

/** The state of a bulk job. */
export type BulkStatus = "running" | "completed" | "stopped" | "failed";

/** The request `POST /v1/bulk`. */
export type CreateBulkJob = {
  /** The action. */
  action: BulkAction;
  /** Who acts. The history of each task records it. */
  actor?: string | null;
  /** Only count the tasks and change nothing. */
  dry_run?: boolean;
  /** The tasks. At least one condition is required. */
  filter: TaskConditions;
  /** Why. The history of each task records it. */
  reason?: string | null;
};

/** The request `POST /v1/tasks`. */
export type CreateTask = {
  /** The input of the task. It must match the `input_schema` of the template, and every step can read it. */
  context: Record<string, unknown>;
  /** Makes the request safe to repeat. The same request with the same key returns the existing task; another
   * request with the same key is a conflict. All templates of a namespace share its keys. */
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

/** The response to a creation: the task, and its steps if the request waited. */
export type CreatedTask = TaskSummary | TaskDetail;

/** An investigation. */
export type DeadLetter = {
  /** When it was opened. */
  created_at: string;
  /** The state of the task now. */
  current_state: TaskState;
  /** The id of the investigation. It is a UUIDv7, so ids sort by the time of opening. */
  dlq_entry_uuid: string;
  /** Why it is investigated. */
  dlq_reason: DeadLetterReason;
  /** Any value, for people and tools. */
  metadata?: Record<string, unknown> | null;
  /** The name of its template. */
  name: string;
  /** The namespace of the task. */
  namespace: string;
  /** The state of the task when the investigation was opened. */
  original_state: TaskState;
  /** What was found out. */
  resolution_notes?: string | null;
  /** How far the investigation is. */
  resolution_status: ResolutionStatus;
  /** When it was closed. */
  resolved_at?: string | null;
  /** Who closed the investigation. */
  resolved_by?: string | null;
  /** The task. */
  task_uuid: string;
  /** When it was changed last. */
  updated_at: string;
  /** The version of its template. */
  version: string;
};

/** The response to `GET /v1/dlq`. */
export type DeadLetterList = {
  /** The investigations, newest first. */
  entries: DeadLetter[];
  /** The cursor of the next page, if there may be one. */
  next_cursor?: string | null;
};

/** Why a task is investigated. */
export type DeadLetterReason = "staleness_timeout" | "max_retries_exceeded" | "dependency_cycle_detected" | "worker_unavailable" | "manual_dlq";

/** A domain event that is in the queue of its namespace. */
export type DomainEvent = {
  /** The event: `event_id`, `event_name`, `outcome`, `payload` and `metadata`. */
  event: Record<string, unknown>;
  /** Its number in the queue. */
  msg_id: number;
  /** When it was published. */
  published_at: string;
  /** How many times a program has taken it. It stays in the queue until a program deletes it. */
  reads: number;
};

/** The response to `GET /v1/namespaces/{namespace}/events`. */
export type DomainEventList = {
  /** The events, the oldest first. */
  events: DomainEvent[];
};

/** The body of a request that has nothing to say. The request needs the media type nevertheless: a form of another web
 * site can send an empty body. The body itself may be absent. */
export type EmptyBody = Record<string, unknown>;

/** One wrong place in a request. */
export type FieldError = {
  /** What is wrong there. */
  message: string;
  /** The place: a JSON pointer (RFC 6901) into the `context` of the request, or `line:column` in a template. */
  pointer: string;
};

/** The request `POST /v1/tasks/{task_uuid}/fork`. */
export type ForkTask = {
  /** Who acts. The history of the new task records it. */
  actor?: string | null;
  /** Why. The history of the new task records it. */
  reason?: string | null;
  /** The name of the step from which the task runs again. The steps that depend on it run again, too. */
  step: string;
};

/** A gate, and how many steps are at it. Its limits count for each key. */
export type Gate = {
  /** How many steps hold a slot, up to 10,001. */
  holding: number;
  /** The most steps of a key that run at once. Zero: the gate is closed. Absent if no template sets `concurrency`. */
  limit?: number | null;
  /** The name. */
  name: string;
  /** The namespace. */
  namespace: string;
  rate?: GateRate | null;
  /** The limit of the template that was stored last. It differs from `limit` if an operator has set that. */
  template_limit?: number | null;
  template_rate?: GateRate | null;
  /** When its limits were changed last. */
  updated_at: string;
  /** How many steps wait for a slot, up to 10,001. */
  waiting: number;
};

/** The response to `GET /v1/gates/{namespace}/{name}`. */
export type GateDetail = Gate & {
  /** Steps that hold a slot, the first 100 in the order of their keys. */
  holders: GateHolder[];
};

/** A step that holds a slot of a gate. */
export type GateHolder = {
  /** The key. Absent if the gate has none. */
  key?: string | null;
  /** Since when it holds the slot. */
  since: string;
  /** The name of the step. */
  step: string;
  /** The task. */
  task_uuid: string;
};

/** The response to `GET /v1/gates`. */
export type GateList = {
  /** The gates, by namespace and name. */
  gates: Gate[];
};

/** How many steps start in a time. */
export type GateRate = {
  /** How many steps may start at once: 1 to `limit`. The others start evenly spread. */
  burst: number;
  /** How many steps start in `per_seconds`: 1 to 100,000. */
  limit: number;
  /** The time, in seconds: up to seven days. */
  per_seconds: number;
};

/** The event `gone`: there is no such task or job, or the caller may not see it. Its topic has no more events. */
export type GoneEvent = {
  /** The topic. */
  topic: string;
};

/** A drawn graph. */
export type GraphLayout = {
  /** How many columns there are. */
  columns: number;
  /** The edges. */
  edges: LayoutEdge[];
  /** The nodes. */
  nodes: LayoutNode[];
  /** How many rows there are. */
  rows: number;
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

/** An edge: the steps of `to` depend on the steps of `from`. */
export type LayoutEdge = {
  /** The places between the two through which the edge passes, so that it crosses no node. */
  bends: Place[];
  /** The `id` of the node that comes first. */
  from: number;
  /** The `id` of the node that depends on it. */
  to: number;
};

/** A step, or several steps that do the same between the same other steps. */
export type LayoutNode = Place & {
  /** The handler of its steps. Empty if they have none. */
  callable: string;
  /** Its number, from 0. */
  id: number;
  /** The names of its steps. */
  steps: string[];
  /** The template whose task runs for each of its steps, in place of a handler. */
  task?: string | null;
};

/** `GET /v1/namespaces`. */
export type NamespaceList = {
  /** All namespaces, by name. */
  namespaces: NamespaceSummary[];
};

/** A namespace and its queue. */
export type NamespaceSummary = {
  /** The name of the PGMQ queue with its domain events. None if no template of the namespace publishes any. */
  event_queue?: string | null;
  /** How long its finished tasks are kept, in days; 0 means forever. None: as the settings of the server say. */
  finished_tasks_days?: number | null;
  /** The namespace. */
  namespace: string;
  /** Since when it is paused: none of its steps start. None if it is not paused. */
  paused_at?: string | null;
  /** The name of its PGMQ queue. */
  queue: string;
  /** How many templates it has. Each version counts. */
  templates: number;
};

/** The event `new`: tasks that were created since the stream began. */
export type NewTasksEvent = {
  /** How many tasks, up to 1,000. */
  count: number;
  /** The namespace of the topic. */
  namespace?: string | null;
  /** The newest of them. */
  newest?: string | null;
};

/** The request `POST /v1/dlq`: opens an investigation. */
export type OpenDeadLetter = {
  /** What is known. */
  resolution_notes?: string | null;
  /** The task. */
  task_uuid: string;
};

/** The request of an action such as `POST /v1/tasks/{task_uuid}/cancel`. The body may be empty. */
export type OperatorAction = {
  /** Who acts. The history records it. */
  actor?: string | null;
  /** Why. The history records it. */
  reason?: string | null;
};

/** What happens at a time of a schedule while the task of an earlier time is still running.
 * 
 * A task that is blocked by failures is not running. */
export type Overlap = "skip" | "allow" | "cancel";

/** The request `PATCH /v1/dlq/{dlq_entry_uuid}`. A field that is absent does not change. */
export type PatchDeadLetter = {
  /** Any object, for people and tools. */
  metadata?: Record<string, unknown> | null;
  /** What was found out. */
  resolution_notes?: string | null;
  resolution_status?: ResolutionStatus | null;
  /** Who closes it. */
  resolved_by?: string | null;
};

/** The request `PATCH /v1/gates/{namespace}/{name}`. A field that is absent does not change. */
export type PatchGate = {
  /** The most steps of a key that run at once, 0 to 100,000, whatever templates say. 0 closes the gate. Null: as the
   * templates say again. */
  limit?: number | null;
  rate?: PatchGateRate | null;
};

/** The change of a rate. A field that is absent keeps the value that counts now: that of an operator, or else that of
 * the templates. A gate without a rate needs `limit` and `per_seconds`. */
export type PatchGateRate = {
  /** How many steps may start at once: 1 to `limit`. If it is absent, it stays, but becomes lower with `limit`. If
   * the gate has had no rate, it is `limit`. */
  burst?: number | null;
  /** How many steps start in `per_seconds`: 1 to 100,000. */
  limit?: number | null;
  /** The time, in seconds: up to seven days. */
  per_seconds?: number | null;
};

/** The request `PATCH /v1/namespaces/{namespace}`. A field that is absent does not change. */
export type PatchNamespace = {
  /** How long finished tasks are kept, in days: 0 to 36500. 0 means forever, and null as the settings of the server
   * say. */
  finished_tasks_days?: number | null;
  /** True pauses the namespace: none of its steps start, and running steps end. False resumes it. */
  paused?: boolean | null;
};

/** How PGMQ is installed in the database. */
export type PgmqInfo = {
  /** `extension`, or `sql` if PostgreSQL does not offer the extension. */
  installed_as: string;
  /** PGMQ's version. */
  version: string;
};

/** A place in the picture. */
export type Place = {
  /** The column, from 0. */
  column: number;
  /** The row, from 0. Fractions are allowed. */
  row: number;
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

/** The request `PUT /v1/schedules/{name}`. */
export type PutSchedule = {
  /** How late a task may be created after an outage, in seconds. Of several missed times, only the last one is caught
   * up. An hour if absent. */
  catch_up_seconds?: number;
  /** The input of the tasks. Empty if absent. */
  context?: Record<string, unknown>;
  /** When tasks are created: a cron expression with the fields minute, hour, day of the month, month, and day of the
   * week, such as `0 2 * * *`. */
  cron: string;
  /** The namespace of the template. */
  namespace: string;
  /** What happens while an earlier task is still running. `skip` if absent. */
  overlap?: Overlap;
  /** Whether the schedule creates no tasks for now. */
  paused?: boolean;
  /** The priority of the tasks, 0 to 100. One point is worth ten seconds of waiting. 0 if absent. */
  priority?: number | null;
  /** Labels for your own use: an array of strings, or an object whose values are strings */
  tags?: string[] | Record<string, string> | null;
  /** The name of the template. */
  template: string;
  /** The time zone of the expression, by its name in the IANA database, such as `Europe/Berlin`. `UTC` if absent. */
  timezone?: string;
  /** The version of the template. If absent, each task gets the newest one. */
  version?: string | null;
};

/** The queue of a namespace. */
export type QueueDepth = {
  /** How many steps run or wait for their next attempt, up to `count_limit`. */
  hidden: number;
  /** The namespace. */
  namespace: string;
  /** How long the ready step that has waited longest has been waiting, in seconds. Absent if no step is ready. */
  oldest_ready_seconds?: number | null;
  /** How many steps wait for a worker, up to `count_limit`. */
  ready: number;
};

/** The request `POST /v1/tasks/{task_uuid}/rerun`: a new task from the input of another one. What is absent is taken
 * from that task. The body may be empty. */
export type RerunTask = {
  /** Who acts. It is stored with the new task. */
  actor?: string | null;
  /** The input of the new task. */
  context?: Record<string, unknown> | null;
  /** Makes the request safe to repeat. The new task does not take the key of the other one. */
  idempotency_key?: string | null;
  /** The priority of the new task. */
  priority?: number | null;
  /** Why. It is stored with the new task. */
  reason?: string | null;
  /** Labels for your own use: an array of strings, or an object whose values are strings */
  tags?: string[] | Record<string, string> | null;
  /** The template's version. If absent, the newest one. */
  version?: string | null;
};

/** How far an investigation is. */
export type ResolutionStatus = "pending" | "manually_resolved" | "permanently_failed" | "cancelled";

/** The request `POST /v1/tasks/{task_uuid}/steps/{name}/resolve`. */
export type ResolveStep = {
  /** Who acts. The history records it. */
  actor?: string | null;
  /** Why. The history records it. */
  reason?: string | null;
  /** The result of the step: any JSON value of at most 1 MiB. */
  result: unknown;
};

/** The event `row`: a task of a list has changed. */
export type RowEvent = {
  /** The task. */
  task: TaskSummary;
};

/** A schedule, and what it did last. */
export type Schedule = {
  /** How late a task may be created after an outage, in seconds. */
  catch_up_seconds: number;
  /** The input of the tasks. */
  context: Record<string, unknown>;
  /** When the schedule was created. */
  created_at: string;
  /** The cron expression. */
  cron: string;
  /** Why no task could be created. */
  last_error?: string | null;
  last_outcome?: SlotOutcome | null;
  /** The last time that was handled. */
  last_slot?: string | null;
  /** The task that the schedule created last. It may have been deleted since. */
  last_task_uuid?: string | null;
  /** The name, unique in the whole system. */
  name: string;
  /** The namespace of the template. */
  namespace: string;
  /** When the next task is due. Without meaning while the schedule is paused. */
  next_at: string;
  /** What happens while an earlier task is still running. */
  overlap: Overlap;
  /** Whether the schedule creates no tasks for now. */
  paused: boolean;
  /** The priority of the tasks. */
  priority: number;
  /** Labels for your own use: an array of strings, or an object whose values are strings */
  tags?: string[] | Record<string, string> | null;
  /** The name of the template. */
  template: string;
  /** The time zone of the expression. */
  timezone: string;
  /** When it was changed last. */
  updated_at: string;
  /** The version of the template. None means the newest one. */
  version?: string | null;
};

/** The response to `GET /v1/schedules`. */
export type ScheduleList = {
  /** The schedules, by name. */
  schedules: Schedule[];
};

/** The request `POST /v1/tasks/{task_uuid}/signals/{name}`. */
export type SendSignal = {
  /** Who sends it. The history records it. */
  actor?: string | null;
  /** What the steps that wait for the signal receive: any JSON value of at most 1 MiB. Null if absent. */
  payload?: unknown;
};

/** What came of a time of a schedule. */
export type SlotOutcome = "created" | "skipped" | "missed" | "failed";

/** The response to `GET /v1/stats`. The server keeps it for two seconds. */
export type Stats = {
  /** When it was read. */
  at: string;
  /** Counts stop at this number. A count that reaches it means "at least". */
  count_limit: number;
  /** The gates, and how many steps hold slots or wait. */
  gates?: Gate[];
  /** The namespaces that are paused: none of their steps start. */
  paused?: string[];
  /** The queue of each namespace. */
  queues: QueueDepth[];
  /** How many tasks each namespace has in each state. Combinations without tasks are left out. */
  tasks: TaskCount[];
  /** Callables that open tasks need and that no live worker of their namespace has. */
  unserved: UnservedHandler[];
  /** The workers together. For a caller that is bound to namespaces: those that serve no other namespace. */
  workers: WorkerTotals;
};

/** What a picture of a task shows of a step. */
export type StepBrief = {
  /** How many attempts have started since the last retry by an operator. */
  attempts: number;
  /** When it completed, failed finally, or was cancelled. */
  completed_at?: string | null;
  /** The end of the lease, or the earliest time of the next attempt. */
  due_at?: string | null;
  /** The kind of its last error. */
  kind?: string | null;
  /** The step's name. */
  name: string;
  /** When its last attempt started. */
  started_at?: string | null;
  /** Its state. */
  status: StepState;
  /** The worker of its last attempt. */
  worker_id?: string | null;
};

/** A step of a task. */
export type StepDetail = {
  /** How many attempts have started since the last retry by an operator. */
  attempts: number;
  /** The handler that runs it. Empty if it runs a task in place of a handler. */
  callable?: string;
  /** When it completed, failed finally, or was cancelled. */
  completed_at?: string | null;
  /** The names of the steps that it waits for. */
  dependencies: string[];
  /** The end of the lease of a step in progress, or the earliest time of the next attempt. */
  due_at?: string | null;
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

/** The response to `GET /v1/tasks/{task_uuid}/steps/{name}`. */
export type StepInspection = StepDetail & {
  /** Why it does not run or has no result yet. Empty for a step that has one. */
  waiting: Waiting[];
};

/** The response to `GET /v1/tasks/{task_uuid}/steps`. */
export type StepList = {
  /** The steps in the order of the template. */
  steps: StepDetail[];
};

/** The state of a step. */
export type StepState = "pending" | "enqueued" | "in_progress" | "waiting_for_retry" | "completed" | "failed" | "cancelled" | "resolved_manually" | "skipped" | "waiting";

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

/** Selects tasks, with the conditions of `GET /v1/tasks`. */
export type TaskConditions = {
  /** Only tasks created at this time or later. */
  created_after?: string | null;
  /** Only tasks created before this time. */
  created_before?: string | null;
  /** Only the task with this idempotency key. */
  idempotency_key?: string | null;
  /** Only tasks of this namespace. */
  namespace?: string | null;
  /** Only tasks in this state, or in one of several, separated by commas. */
  status?: string | null;
  /** Only tasks with this tag or searchable value. */
  tag?: string | null;
  /** Only tasks of the template with this name. */
  template?: string | null;
  /** Only tasks of this version of the template. */
  version?: string | null;
};

/** The number of tasks in a state. */
export type TaskCount = {
  /** How many tasks there are, up to `count_limit`. */
  count: number;
  /** The namespace. */
  namespace: string;
  /** The state. */
  status: TaskState;
};

/** The response to `GET /v1/tasks/{task_uuid}`. */
export type TaskDetail = TaskSummary & {
  /** The input of the task. */
  context: Record<string, unknown>;
  /** When its time limit ends, if its template has one and the task has not ended. */
  deadline?: string | null;
  /** Why it was cancelled or marked as failed. */
  end_reason?: string | null;
  /** Who cancelled it or marked it as failed: an operator, a schedule, or `tasker` at a limit. */
  ended_by?: string | null;
  /** The task that this one was forked from. It may have been deleted since. */
  forked_from?: string | null;
  /** The tasks that were forked from this one, oldest first. */
  forks?: string[];
  /** The idempotency key of the request that created it. */
  idempotency_key?: string | null;
  /** The task whose rerun it is. */
  rerun_of?: string | null;
  /** Its steps in the order of the template. */
  steps: StepDetail[];
};

/** The event `task`: first with all steps, later with those that have changed. */
export type TaskEvent = {
  /** Its steps. */
  steps: StepBrief[];
  /** The task. */
  task: TaskSummary;
};

/** The response to `GET /v1/tasks`: the newest tasks first. */
export type TaskList = {
  /** The cursor of the next page. Absent on the last page. */
  next_cursor?: string | null;
  /** One page of tasks. A search looks at a limited number of tasks for each page, so a page may have fewer tasks than
   * its limit, or none, before the last one. */
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
  /** The values of its context that its template calls searchable, by JSON pointer. */
  searchable?: Record<string, string> | null;
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

/** The response to `GET /v1/templates/{namespace}/{name}/layout`. Columns go from left to right in the direction of
 * the work, rows from top to bottom. The units are nodes, so a picture multiplies them by its own sizes. */
export type TemplateLayout = GraphLayout & {
  /** The template's name. */
  name: string;
  /** The template's namespace. */
  namespace: string;
  /** The template's version. */
  version: string;
};

/** The response to `GET /v1/templates`. */
export type TemplateList = {
  /** The cursor of the next page. Absent on the last page. */
  next_cursor?: string | null;
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
  /** Its number. Later changes of a task have larger numbers. */
  id?: number;
  /** The kind of the error of a failed attempt. */
  kind?: string | null;
  /** Why. */
  reason?: string | null;
  /** The step. Absent if the task itself changed. */
  step?: string | null;
  /** The new state. */
  to: string;
};

/** The response to `GET /v1/tasks/{task_uuid}/transitions`. */
export type TransitionList = {
  /** The cursor of the next page. Absent on the last page. */
  next_cursor?: string | null;
  /** The state changes, the oldest first. */
  transitions: Transition[];
};

/** A handler that is missing. */
export type UnservedHandler = {
  /** The callable. */
  callable: string;
  /** The namespace. */
  namespace: string;
  /** How many open tasks these templates have, among the newest 1,000 of each state. */
  open_tasks: number;
  /** The templates that need it. */
  templates: string[];
};

/** The kinds of reasons why a step waits. */
export type WaitReason = "dependencies" | "blocked_dependency" | "backoff" | "running" | "worker_lost" | "no_worker" | "no_handler" | "workers_full" | "queue" | "needs_operator" | "children" | "waiting" | "paused" | "stalled" | "message_lost" | "gate";

/** A reason why a step waits. */
export type Waiting = {
  /** How many steps it waits for, or how many are before it in the queue or at the gate. */
  count?: number | null;
  /** The reason in a sentence. */
  message: string;
  /** The kind of the reason. */
  reason: WaitReason;
  /** The signal for which it waits. */
  signal?: string | null;
  /** The steps that it waits for. */
  steps: string[];
  /** The task to look at: the child task for which it waits, or the one further down that is blocked by failures. */
  task?: string | null;
  /** Until when it waits, if that is known. */
  until?: string | null;
  /** The workers that the reason is about. */
  workers: string[];
};

/** The response to `GET /v1/whoami`. */
export type Whoami = {
  /** Whether the server asks for keys. Without keys, everyone may do everything. */
  keys: boolean;
  /** The name that the history shows, such as `key:shop`. Absent on a server without keys. */
  name?: string | null;
  /** The namespaces that the caller may use. Absent: every namespace. */
  namespaces?: string[] | null;
  /** What the caller may do: `read`, `submit`, `operate`. */
  scopes: string[];
};

/** The response to `GET /v1/workers`. */
export type WorkerList = {
  /** The cursor of the next page. Absent on the last page. */
  next_cursor?: string | null;
  /** The workers that have sent a heartbeat, sorted by id. */
  workers: WorkerSummary[];
};

/** What a worker is doing. */
export type WorkerState = "running" | "draining" | "stopped" | "lost";

/** A worker in the database. */
export type WorkerSummary = {
  /** How many attempts completed in a second, between its last two heartbeats. */
  completed_per_second?: number | null;
  /** How many attempts have completed since it started. */
  completed_steps?: number | null;
  /** How many attempts failed in a second, between its last two heartbeats. */
  failed_per_second?: number | null;
  /** How many attempts have failed since it started. */
  failed_steps?: number | null;
  /** The callables of its handlers, sorted. This and the following fields are absent for workers of older releases. */
  handlers?: string[] | null;
  /** The host that it runs on. */
  host: string;
  /** When its last heartbeat arrived. */
  last_heartbeat_at: string;
  /** The most steps that it runs at once. */
  max_concurrent: number;
  /** The namespaces that it serves. */
  namespaces: string[];
  /** How many steps it was running at its last heartbeat. */
  running_steps?: number | null;
  /** When it started. */
  started_at: string;
  /** What it is doing. */
  status: WorkerState;
  /** Its version of Tasker. */
  version: string;
  /** Its name, unique among running workers. */
  worker_id: string;
};

/** Workers together. */
export type WorkerTotals = {
  /** How many attempts complete in a second. */
  completed_per_second: number;
  /** How many workers finish their steps and start no more. */
  draining: number;
  /** How many attempts fail in a second. */
  failed_per_second: number;
  /** How many workers have stopped sending heartbeats without a shutdown. */
  lost: number;
  /** The most steps that the running workers run at once. */
  max_concurrent: number;
  /** How many workers start steps. */
  running: number;
  /** How many steps run, as the running and draining workers reported. */
  running_steps: number;
};
