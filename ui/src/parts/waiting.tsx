// Why a task is waiting: what the server says of the steps that hold it up.

import { duration, now, plural } from "../format";
import { get, v1 } from "../http";
import type { StepDetail, StepInspection, TaskDetail, Waiting } from "../api-types";
import { useResource } from "../resource";
import { linkHere, taskLink } from "../route";
import { ErrorLine, Text } from "./basic";
import { isFinal, look, Sign } from "./state";

/** The states of steps that hold a task up, the most urgent first. */
const HOLDING_UP = ["failed", "waiting", "waiting_for_retry", "enqueued", "in_progress"];
/** How many steps of each state are explained. */
const EXPLAINED = 2;

/** The steps that hold a task up, and how many more. The first of each state: many of one kind hide no other. */
function holdingUp(task: TaskDetail): { shown: StepDetail[]; more: number } {
  const groups = HOLDING_UP.map((state) => task.steps.filter((step) => step.status === state));
  const shown = groups.flatMap((steps) => steps.slice(0, EXPLAINED));
  const all = groups.reduce((sum, steps) => sum + steps.length, 0);
  return { shown, more: all - shown.length };
}

/**
 * Changes every 5 s. An answer such as "no worker has the handler" can change while no step does, so it is asked for
 * again.
 */
export const whyBeat = (): number => Math.floor(now.value / 5000);

/** `round` changes when a step of the task has changed. */
export function WhyWaiting({ task, round }: { task: TaskDetail; round: number }) {
  const { shown, more } = isFinal(task.status) ? { shown: [], more: 0 } : holdingUp(task);
  const key = shown.map((step) => `${step.name} ${step.status} ${step.attempts}`).join();
  const answers = useResource(
    key && task.task_uuid,
    (signal) =>
      Promise.all(
        shown.map((step) => get<StepInspection>(v1("tasks", task.task_uuid, "steps", step.name), { signal })),
      ),
    `${key} ${round} ${whyBeat()}`,
  );
  if (shown.length === 0 || !answers.data) return null;
  const blocked = task.status === "blocked_by_failures";
  return (
    <section class={`waiting ${blocked ? "bad" : ""}`} aria-label="Why is it waiting?">
      <h2>Why is it waiting?</h2>
      <ul>
        {answers.data.map((step) => (
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
                : step.waiting.map((why) => (
                    <span key={why.reason}>
                      <Reason why={why} />{" "}
                    </span>
                  ))}
              <ErrorLine error={step.error} />
            </div>
          </li>
        ))}
        {more > 0 && <li class="faint">and {plural(more, "more step")}</li>}
      </ul>
    </section>
  );
}

/** A reason in a sentence, with the time that is left, and a link to the task that it is about. */
export function Reason({ why: { message, until, task } }: { why: Waiting }) {
  return (
    <>
      <Text>{message}</Text>
      {until && <Until at={until} />}
      {task && (
        <>
          {" "}
          <a href={taskLink(task)}>
            See the task <span class="mono">{task.slice(-8)}</span>
          </a>
        </>
      )}
    </>
  );
}

function Until({ at }: { at: string }) {
  const ms = Date.parse(at) - now.value;
  return ms > 0 ? <span class="faint"> ({duration(Math.ceil(ms / 1000) * 1000)} left)</span> : null;
}
