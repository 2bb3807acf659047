// One task: its graph, timeline, steps, history and input, live; and what an operator may do about it.

import type { ComponentChildren } from "preact";
import { useMemo, useState } from "preact/hooks";
import { between, duration, now, plural } from "../format";
import { type ApiError, get, v1 } from "../http";
import { Card, Copy, Empty, Failure, Loaded, Meter, PageHead, Text, Time, useTitle } from "../parts/basic";
import { Graph } from "../parts/graph";
import { Json } from "../parts/json";
import { look, Sign, State } from "../parts/state";
import { StepPanel } from "../parts/step-panel";
import { Tags } from "../parts/tags";
import { TaskActions } from "../parts/task-actions";
import { Timeline } from "../parts/timeline";
import type {
  AttemptList,
  StepDetail,
  StepEvent,
  StepView,
  TaskDetail,
  TaskSummary,
  TemplateLayout,
  Transition,
} from "../planned";
import { type Resource, useLive, useResource, useThrottle } from "../resource";
import { linkHere, route, taskLink, templateLink } from "../route";

type TaskEvent = { task: TaskSummary; steps: StepEvent[] };
type Detail = Resource<TaskDetail>;

const FINAL = ["completed", "failed", "cancelled"];
export const isFinal = (status: string): boolean => FINAL.includes(status);
/** How often what hangs on the steps is loaded again while they change, in milliseconds. */
const REFRESH_MS = 400;
const ATTEMPTS = 2000;
const TRANSITIONS = 500;

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
  useLive([`task:${id}`], ({ name, data }) => {
    if (name === "gone") setGone(true);
    if (name !== "task") return;
    const event = data as TaskEvent;
    // The stream does not carry messages of errors.
    if (event.steps.some((step) => step.kind)) refresh();
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
        <Waiting task={task} round={round} />
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
        {tab === "steps" && <Steps task={task} selected={selected} />}
        {tab === "timeline" && <TimelineTab task={task} round={round} selected={selected} />}
        {tab === "history" && <History task={task} round={round} />}
        {tab === "input" && <Json value={task.context} label="Input of the task" />}
      </div>
      {step && <StepPanel key={step.name} task={task} step={step} round={round} changed={reload} />}
    </div>
  );
}

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
      {task.priority !== 0 && fact("Priority", task.priority)}
      {task.idempotency_key &&
        fact(
          "Idempotency key",
          <span class="mono">
            <Text>{task.idempotency_key}</Text>
          </span>,
        )}
      {task.rerun_of &&
        fact(
          "Rerun of",
          <a class="mono" href={taskLink(task.rerun_of)}>
            {task.rerun_of.slice(-8)}
          </a>,
        )}
      {fact("Tags", <Tags task={task} />)}
    </dl>
  );
}

/** The steps that hold a task up, the most urgent first. */
function holdingUp(task: TaskDetail): StepDetail[] {
  const order = ["failed", "waiting_for_retry", "in_progress", "enqueued"];
  return order.flatMap((state) => task.steps.filter((step) => step.status === state));
}

const EXPLAINED = 3;

function Waiting({ task, round }: { task: TaskDetail; round: number }) {
  const steps = isFinal(task.status) ? [] : holdingUp(task);
  const shown = steps.slice(0, EXPLAINED);
  // An answer such as "no worker has the handler" can change while no step does, so it is asked for again.
  const beat = Math.floor(now.value / 5000);
  const key = shown.map((step) => `${step.name} ${step.status} ${step.attempts}`).join();
  const answers = useResource(key && `${task.task_uuid} ${key} ${round} ${beat}`, (signal) =>
    Promise.all(shown.map((step) => get<StepView>(v1("tasks", task.task_uuid, "steps", step.name), { signal }))),
  );
  const kept = useKept(answers.data);
  if (shown.length === 0 || !kept) return null;
  const blocked = task.status === "blocked_by_failures";
  return (
    <section class={`waiting ${blocked ? "bad" : ""}`} aria-label="Why is it waiting?">
      <h2>Why is it waiting?</h2>
      <ul>
        {kept.map((step) => (
          <li key={step.name}>
            <span class={look(step.status).tone}>
              <Sign state={step.status} />
            </span>
            <div>
              <a href={linkHere({ step: step.name })}>
                <Text>{step.name}</Text>
              </a>{" "}
              {step.waiting.length === 0
                ? "does not wait."
                : step.waiting.map(({ reason, message, until }) => (
                    <span key={reason}>
                      <Text>{message}</Text>
                      {until && reason === "backoff" && <Until at={until} />}{" "}
                    </span>
                  ))}
              <ErrorLine error={step.error} />
            </div>
          </li>
        ))}
        {steps.length > EXPLAINED && <li class="faint">and {plural(steps.length - EXPLAINED, "more step")}</li>}
      </ul>
    </section>
  );
}

/** The last data, while the next are loaded. */
function useKept<T>(data: T | undefined): T | undefined {
  const [kept] = useState<{ data: T | undefined }>({ data: undefined });
  if (data !== undefined) kept.data = data;
  return kept.data;
}

function Until({ at }: { at: string }) {
  const ms = Date.parse(at) - now.value;
  return ms > 0 ? <span class="faint"> ({duration(Math.ceil(ms / 1000) * 1000)} left)</span> : null;
}

/** What an attempt reported: `kind` and `message`. */
export function ErrorLine({ error }: { error: unknown }) {
  if (typeof error !== "object" || error === null) return null;
  const { kind, message } = error as { kind?: string; message?: string };
  return (
    <p class="error-line">
      {kind && (
        <code>
          <Text>{kind}</Text>
        </code>
      )}{" "}
      <Text>{message ?? ""}</Text>
    </p>
  );
}

function Steps({ task, selected }: { task: TaskDetail; selected: string | undefined }) {
  const { namespace, name, version } = task;
  const layout = useResource(`layout ${namespace} ${name} ${version}`, (signal) =>
    get<TemplateLayout>(v1("templates", namespace, name, "layout"), { query: { version }, signal }),
  );
  const states = useMemo(() => new Map(task.steps.map((step) => [step.name, step.status])), [task.steps]);
  const node = route.value.query.get("node");
  const group = layout.data?.nodes.find((each) => String(each.id) === node);
  const shown = group ? task.steps.filter((step) => group.steps.includes(step.name)) : task.steps;
  return (
    <>
      <Loaded from={layout}>
        {(data) => (
          <Graph
            layout={data}
            label="Graph of the task"
            stateOf={(step) => states.get(step)}
            href={({ id, steps: [first = "", ...more] }) =>
              more.length === 0
                ? linkHere({ step: first, node: undefined })
                : linkHere({ node: String(id), step: undefined })
            }
            selected={selected}
          />
        )}
      </Loaded>
      {group && (
        <p class="toolbar">
          <span>{plural(group.steps.length, "step")} of one node</span>
          <a class="button" href={linkHere({ node: undefined })}>
            Show all steps
          </a>
        </p>
      )}
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Step</th>
              <th scope="col">State</th>
              <th scope="col" class="number">
                Attempts
              </th>
              <th scope="col" class="extra">
                Waits for
              </th>
              <th scope="col" class="extra">
                Worker
              </th>
              <th scope="col">Started</th>
              <th scope="col" class="number">
                Took
              </th>
            </tr>
          </thead>
          <tbody>
            {shown.map((step) => (
              <StepRow key={step.name} step={step} selected={step.name === selected} />
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

const DEPENDENCIES = 4;

function StepRow({ step, selected }: { step: StepDetail; selected: boolean }) {
  const { dependencies } = step;
  return (
    <tr class={selected ? "chosen" : ""}>
      <th scope="row">
        <a href={linkHere({ step: step.name })} data-row>
          <Text>{step.name}</Text>
        </a>
      </th>
      <td>
        <State state={step.status} />
      </td>
      <td class="number">
        {step.attempts} of {step.max_attempts}
      </td>
      <td class="faint extra">
        {dependencies.slice(0, DEPENDENCIES).map((name, index) => (
          <span key={name}>
            {index > 0 && ", "}
            <Text>{name}</Text>
          </span>
        ))}
        {dependencies.length > DEPENDENCIES && ` and ${dependencies.length - DEPENDENCIES} more`}
      </td>
      <td class="faint extra">
        <Text>{step.worker_id ?? ""}</Text>
      </td>
      <td>
        <Time at={step.started_at} />
      </td>
      <td class="number">
        {step.started_at && (step.completed_at ?? step.status === "in_progress") ? (
          between(step.started_at, step.completed_at)
        ) : (
          <span class="faint">–</span>
        )}
      </td>
    </tr>
  );
}

function TimelineTab({ task, round, selected }: { task: TaskDetail; round: number; selected: string | undefined }) {
  const list = useResource(`attempts ${task.task_uuid} ${round}`, (signal) =>
    get<AttemptList>(v1("tasks", task.task_uuid, "attempts"), { query: { limit: ATTEMPTS }, signal }),
  );
  const kept = useKept(list.data);
  if (!kept) return <Loaded from={list}>{() => null}</Loaded>;
  if (kept.attempts.length === 0) return <Empty title="No step has started yet." />;
  return (
    <Card class="flush">
      {kept.next_cursor && (
        <p class="notice warn">
          The timeline shows the first {ATTEMPTS} attempts. The panel of a step shows all of its own.
        </p>
      )}
      <Timeline
        attempts={kept.attempts}
        steps={task.steps.map((step) => step.name)}
        from={task.started_at ?? task.created_at}
        to={task.completed_at ?? (task.status === "blocked_by_failures" ? task.created_at : null)}
        selected={selected}
      />
    </Card>
  );
}

function History({ task, round }: { task: TaskDetail; round: number }) {
  const [cursors, setCursors] = useState<string[]>([]);
  const cursor = cursors.at(-1);
  const list = useResource(`history ${task.task_uuid} ${cursor ?? ""} ${round}`, (signal) =>
    get<{ transitions: Transition[]; next_cursor?: string | null }>(v1("tasks", task.task_uuid, "transitions"), {
      query: { limit: TRANSITIONS, cursor },
      signal,
    }),
  );
  const kept = useKept(list.data);
  if (!kept) return <Loaded from={list}>{() => null}</Loaded>;
  const { transitions, next_cursor } = kept;
  return (
    <>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Time</th>
              <th scope="col">Step</th>
              <th scope="col">Change</th>
              <th scope="col" class="number">
                Attempt
              </th>
              <th scope="col">By</th>
              <th scope="col">Why</th>
            </tr>
          </thead>
          <tbody>
            {transitions.map((change) => (
              <tr key={change.id}>
                <td>
                  <Time at={change.at} as="exact" />
                </td>
                <td>
                  {change.step ? (
                    <a href={linkHere({ step: change.step })} data-row>
                      <Text>{change.step}</Text>
                    </a>
                  ) : (
                    <span class="faint">the task</span>
                  )}
                </td>
                <td>
                  <State state={change.to} />
                </td>
                <td class="number">{change.attempt ?? ""}</td>
                <td>
                  <Text>{change.actor ?? ""}</Text>
                </td>
                <td class="reason">
                  {change.kind && (
                    <code>
                      <Text>{change.kind}</Text>
                    </code>
                  )}{" "}
                  <Text>{change.reason ?? ""}</Text>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <nav class="pages" aria-label="Pages of the history">
        {cursors.length > 0 && (
          <button
            type="button"
            onClick={() => {
              setCursors(cursors.slice(0, -1));
            }}
          >
            Earlier
          </button>
        )}
        {next_cursor && (
          <button
            type="button"
            onClick={() => {
              setCursors([...cursors, next_cursor]);
            }}
          >
            Later
          </button>
        )}
      </nav>
    </>
  );
}
