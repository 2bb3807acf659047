// Why a task is waiting: what the server says of the steps that hold it up.

import { duration, now, plural } from "../format";
import { get, v1 } from "../http";
import type { StepDetail, StepInspection, TaskDetail } from "../api-types";
import { useResource } from "../resource";
import { linkHere } from "../route";
import { ErrorLine, Text } from "./basic";
import { isFinal, look, Sign } from "./state";

/** The steps that hold a task up, the most urgent first. */
function holdingUp(task: TaskDetail): StepDetail[] {
  const order = ["failed", "waiting_for_retry", "in_progress", "enqueued"];
  return order.flatMap((state) => task.steps.filter((step) => step.status === state));
}

const EXPLAINED = 3;

/** `round` changes when a step of the task has changed. */
export function Waiting({ task, round }: { task: TaskDetail; round: number }) {
  const steps = isFinal(task.status) ? [] : holdingUp(task);
  const shown = steps.slice(0, EXPLAINED);
  // An answer such as "no worker has the handler" can change while no step does, so it is asked for again.
  const beat = Math.floor(now.value / 5000);
  const key = shown.map((step) => `${step.name} ${step.status} ${step.attempts}`).join();
  const answers = useResource(
    key && task.task_uuid,
    (signal) =>
      Promise.all(
        shown.map((step) => get<StepInspection>(v1("tasks", task.task_uuid, "steps", step.name), { signal })),
      ),
    `${key} ${round} ${beat}`,
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

function Until({ at }: { at: string }) {
  const ms = Date.parse(at) - now.value;
  return ms > 0 ? <span class="faint"> ({duration(Math.ceil(ms / 1000) * 1000)} left)</span> : null;
}
