// One task: its graph, timeline, steps, history and input, live; and what an operator may do about it.

import type { ComponentChildren } from "preact";
import { useMemo, useState } from "preact/hooks";
import { between, stateName } from "../format";
import { type ApiError, get, v1 } from "../http";
import { Copy, Empty, Failure, Loaded, Meter, PageHead, Text, Time, useTitle } from "../parts/basic";
import { Json } from "../parts/json";
import { isFinal, State } from "../parts/state";
import { StepPanel } from "../parts/step-panel";
import { Tags } from "../parts/tags";
import { TaskActions } from "../parts/task-actions";
import { TaskHistory } from "../parts/task-history";
import { TaskSteps } from "../parts/task-steps";
import { TaskTimeline } from "../parts/task-timeline";
import { WhyWaiting } from "../parts/waiting";
import type { TaskDetail, TaskEvent } from "../api-types";
import { type Resource, useLive, useResource, useThrottle } from "../resource";
import { linkHere, route, taskLink, templateLink } from "../route";

type Detail = Resource<TaskDetail>;

/** How often what hangs on the steps is loaded again while they change, in milliseconds. */
const REFRESH_MS = 400;
/** The steps with what an event says of them. */
function merge(detail: TaskDetail, { task, steps }: TaskEvent): TaskDetail {
  const changes = new Map(steps.map((step) => [step.name, step]));
  return {
    ...detail,
    ...task,
    steps: detail.steps.map((step) => {
      const change = changes.get(step.name);
      if (!change) return step;
      return { ...step, ...change };
    }),
  };
}

export function TaskPage({ id }: { id: string }) {
  const detail: Detail = useResource(`task ${id}`, (signal) =>
    get<TaskDetail>(v1("tasks", id), { query: { results: false }, signal }),
  );
  const [round, setRound] = useState(0);
  const [gone, setGone] = useState(false);
  const changed = useThrottle(() => {
    setRound((count) => count + 1);
  }, REFRESH_MS);
  const refresh = useThrottle(detail.reload, REFRESH_MS);
  const known = useMemo(() => new Set(detail.data?.steps.map((step) => step.name)), [detail.data?.steps]);
  useLive([`task:${id}`], ({ name, data }) => {
    if (name === "gone") setGone(true);
    if (name !== "task") return;
    const event = data as TaskEvent;
    // The stream does not carry messages of errors, why a task ended, nor all of a step that did not exist when the page
    // was loaded.
    const ended = isFinal(event.task.status) && event.task.status !== detail.data?.status;
    if (ended || event.steps.some((step) => Boolean(step.kind) || !known.has(step.name))) refresh();
    detail.update((old) => merge(old, event));
    changed();
  });
  useTitle(detail.data ? `${detail.data.name} ${id.slice(-6)}` : "Task");
  if (detail.error && !detail.data) {
    return (
      <>
        <PageHead title="Task" />
        {detail.error.status === 404 || detail.error.status === 400 ? (
          <Empty title="There is no such task.">
            It does not exist, it was deleted after its end, or your key does not cover its namespace. <code>{id}</code>
          </Empty>
        ) : (
          <Failure error={detail.error} retry={detail.reload} />
        )}
      </>
    );
  }
  if (!detail.data) {
    return (
      <>
        <PageHead title="Task" />
        <Loaded from={detail}>{() => null}</Loaded>
      </>
    );
  }
  return <Task task={detail.data} round={round} gone={gone} reload={detail.reload} error={detail.error} />;
}

type TaskProps = { task: TaskDetail; round: number; gone: boolean; reload: () => void; error: ApiError | undefined };

const TABS = [
  ["steps", "Steps"],
  ["timeline", "Timeline"],
  ["history", "History"],
  ["input", "Input"],
] as const;

function Task({ task, round, gone, reload, error }: TaskProps) {
  const { query } = route.value;
  const tab = TABS.find(([name]) => name === query.get("tab"))?.[0] ?? "steps";
  const selected = query.get("step") ?? undefined;
  const step = task.steps.find((each) => each.name === selected);
  return (
    <div class={step ? "with-panel" : ""}>
      <div class="beside">
        <PageHead
          above={
            <>
              <a href={templateLink(task.namespace, task.name, task.version)}>
                <Text>{`${task.namespace}/${task.name}`}</Text>
              </a>{" "}
              {task.version}
            </>
          }
          title={
            <>
              <span class="hidden">Task </span>
              <span class="mono id">{task.task_uuid}</span>
            </>
          }
          beside={<Copy text={task.task_uuid} label="Copy" />}
        >
          <TaskActions task={task} changed={reload} />
        </PageHead>
        {error && <Failure error={error} retry={reload} />}
        {gone && (
          <div class="notice warn" role="alert">
            <p>The server has deleted this task. The page shows its last state.</p>
          </div>
        )}
        <Facts task={task} />
        <WhyEnded task={task} />
        <WhyWaiting task={task} round={round} />
        <nav class="tabs" aria-label="Parts of the task">
          {TABS.map(([name, title]) => (
            <a
              key={name}
              href={linkHere({ tab: name === "steps" ? undefined : name, node: undefined })}
              aria-current={tab === name ? "page" : undefined}
            >
              {title}
            </a>
          ))}
        </nav>
        {tab === "steps" && <TaskSteps task={task} selected={selected} />}
        {tab === "timeline" && <TaskTimeline task={task} round={round} selected={selected} />}
        {tab === "history" && <TaskHistory task={task} round={round} />}
        {tab === "input" && <Json value={task.context} label="Input of the task" />}
      </div>
      {step && <StepPanel key={step.name} task={task} step={step} round={round} changed={reload} />}
    </div>
  );
}

/** Who ended the task, and why, if it did not end by itself. */
function WhyEnded({ task: { status, ended_by: by, end_reason: reason } }: { task: TaskDetail }) {
  if (!by && !reason) return null;
  return (
    <div class="notice warn">
      <p>
        {stateName(status)}
        {by && (
          <>
            {" "}
            by{" "}
            <b>
              <Text>{by}</Text>
            </b>
          </>
        )}
        {reason && (
          <>
            : <Text>{reason}</Text>
          </>
        )}
      </p>
    </div>
  );
}

/** How many forks are shown, the newest. */
const FORKS = 5;

const TaskLink = ({ id }: { id: string }) => (
  <a class="mono" href={taskLink(id)}>
    {id.slice(-8)}
  </a>
);

function Facts({ task }: { task: TaskDetail }) {
  const fact = (title: string, value: ComponentChildren) => (
    <div>
      <dt>{title}</dt>
      <dd>{value}</dd>
    </div>
  );
  return (
    <dl class="facts strip">
      {fact("State", <State state={task.status} />)}
      {fact(
        "Steps",
        <>
          {task.completed_steps} of {task.total_steps}
          {task.failed_steps > 0 && <span class="bad-text">, {task.failed_steps} failed</span>}
          <Meter
            done={task.completed_steps}
            failed={task.failed_steps}
            total={task.total_steps}
            label="Completed steps"
          />
        </>,
      )}
      {fact("Created", <Time at={task.created_at} />)}
      {fact(
        "Waited",
        task.started_at ? between(task.created_at, task.started_at) : between(task.created_at, task.completed_at),
      )}
      {task.started_at &&
        fact(task.completed_at ? "Took" : "Since the start", between(task.started_at, task.completed_at))}
      {task.deadline && fact("Time limit", <Time at={task.deadline} as="ago" />)}
      {task.priority !== 0 && fact("Priority", task.priority)}
      {task.idempotency_key &&
        fact(
          "Idempotency key",
          <span class="mono">
            <Text>{task.idempotency_key}</Text>
          </span>,
        )}
      {task.rerun_of && fact("Rerun of", <TaskLink id={task.rerun_of} />)}
      {task.forked_from && fact("Forked from", <TaskLink id={task.forked_from} />)}
      {task.forks &&
        task.forks.length > 0 &&
        fact(
          "Forks",
          task.forks.slice(-FORKS).map((id) => (
            <span key={id}>
              <TaskLink id={id} />{" "}
            </span>
          )),
        )}
      {fact("Tags", <Tags task={task} />)}
    </dl>
  );
}
