import type {
  StepDetail as OldStep,
  StepState,
  TaskDetail as OldTask,
  TaskState,
  TaskSummary as OldSummary,
  Transition as OldTransition,
  WorkerSummary as OldWorker,
} from "./api-types";
export type Whoami = { name: string | null; scopes: string[]; namespaces: string[] | null; keys: boolean };
export type TaskCount = { namespace: string; status: TaskState; count: number };
export type QueueDepth = { namespace: string; ready: number; hidden: number; oldest_ready_seconds: number | null };
export type WorkerTotals = {
  running: number;
  draining: number;
  lost: number;
  running_steps: number;
  max_concurrent: number;
  completed_per_second: number;
  failed_per_second: number;
};
export type UnservedHandler = { namespace: string; callable: string; templates: string[]; open_tasks: number };
export type Stats = {
  at: string;
  tasks: TaskCount[];
  queues: QueueDepth[];
  workers: WorkerTotals;
  unserved: UnservedHandler[];
  count_limit: number;
};
export type TaskSummary = OldSummary & { searchable?: Record<string, string> | null };
export type StepDetail = OldStep & { callable: string; due_at?: string | null };
export type TaskDetail = Omit<OldTask, "steps"> &
  TaskSummary & { steps: StepDetail[]; rerun_of?: string | null; idempotency_key?: string | null };
export type Waiting = {
  reason: string;
  message: string;
  steps: string[];
  until?: string | null;
  workers: string[];
  count?: number | null;
};
export type StepInspection = StepDetail & { waiting: Waiting[] };
export type Attempt = {
  step: string;
  attempt: number;
  worker_id?: string | null;
  started_at: string;
  ended_at?: string | null;
  outcome?: StepState | null;
  kind?: string | null;
  message?: string | null;
};
export type AttemptList = { attempts: Attempt[]; next_cursor?: string | null };
export type Transition = OldTransition & { id: number; kind?: string | null };
export type LayoutNode = { id: number; steps: string[]; callable: string; column: number; row: number };
export type LayoutEdge = { from: number; to: number; bends: { column: number; row: number }[] };
export type TemplateLayout = {
  namespace: string;
  name: string;
  version: string;
  columns: number;
  rows: number;
  nodes: LayoutNode[];
  edges: LayoutEdge[];
};
export type StepBrief = {
  name: string;
  status: StepState;
  attempts: number;
  worker_id?: string | null;
  started_at?: string | null;
  completed_at?: string | null;
  due_at?: string | null;
  kind?: string | null;
};
export type WorkerSummary = OldWorker & {
  handlers?: string[] | null;
  running_steps?: number | null;
  completed_steps?: number | null;
  failed_steps?: number | null;
  completed_per_second?: number | null;
  failed_per_second?: number | null;
};
export type TaskConditions = Record<string, string>;
export type BulkJob = {
  id: string;
  action: string;
  filter: TaskConditions;
  actor?: string | null;
  reason?: string | null;
  status: string;
  examined: number;
  done: number;
  skipped: number;
  created_at: string;
  updated_at: string;
  finished_at?: string | null;
  error?: string | null;
};
export type BulkPreview = { matched: number; complete: boolean; examples: TaskSummary[] };
export type TransitionList = { transitions: Transition[]; next_cursor?: string | null };
