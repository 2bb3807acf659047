// One step of a task: why it waits, its attempts, error, input and result, and what an operator may do about it.

import { useState } from "preact/hooks";
import { between } from "../format";
import { get, v1 } from "../http";
import { parseInput } from "../json";
import type { AttemptList, StepDetail, StepInspection, TaskDetail, TaskSummary } from "../api-types";
import { useResource } from "../resource";
import { go, linkHere, taskLink } from "../route";
import { may } from "../session";
import { ErrorLine, Failure, Text, Time } from "./basic";
import { ActionDialog } from "./dialog";
import { Json } from "./json";
import { hasResult, isFinal, isSettled, Sign, State } from "./state";
import { outcomeOf } from "./timeline";
import { Reason, whyBeat } from "./waiting";

type Props = { task: TaskDetail; step: StepDetail; round: number; changed: () => void };

export function StepPanel({ task, step, round, changed }: Props) {
  const id = task.task_uuid;
  const path = v1("tasks", id, "steps", step.name);
  const version = `${step.status} ${step.attempts} ${round}`;
  // Nothing changes any more in a step that has ended.
  const beat = isSettled(step.status) ? 0 : whyBeat();
  const view = useResource<StepInspection>(path, (signal) => get(path, { signal }), `${version} ${beat}`);
  const attempts = useResource<AttemptList>(
    path,
    (signal) => get(v1("tasks", id, "attempts"), { query: { step: step.name }, signal }),
    version,
  );
  const { data } = view;
  return (
    <aside class="panel" aria-label={`Step ${step.name}`}>
      <header>
        <h2>
          <Text>{step.name}</Text>
        </h2>
        <a class="button quiet" href={linkHere({ step: undefined })} data-escape>
          Close
        </a>
      </header>
      <p class="row">
        <State state={step.status} />
        {step.callable && (
          <code>
            <Text>{step.callable}</Text>
          </code>
        )}
      </p>
      <StepActions task={task} step={step} signal={signalOf(data)} changed={changed} />
      {view.error && <Failure error={view.error} retry={view.reload} />}
      {data && data.waiting.length > 0 && (
        <section>
          <h3>Why is it waiting?</h3>
          <ul class="plain">
            {data.waiting.map((why) => (
              <li key={why.reason}>
                <Reason why={why} />
                {why.steps.length > 0 && <Links steps={why.steps} total={why.count ?? why.steps.length} />}
              </li>
            ))}
          </ul>
        </section>
      )}
      {data && Boolean(data.error) && (
        <section>
          <h3>Error</h3>
          <div class="notice bad">
            <ErrorLine error={data.error} />
          </div>
        </section>
      )}
      <section>
        <h3>
          Attempts{" "}
          <span class="faint">
            {step.attempts} of {step.max_attempts}
          </span>
        </h3>
        {attempts.data && attempts.data.attempts.length > 0 ? (
          <ol class="attempts">
            {attempts.data.attempts.map((attempt) => {
              const { state, text } = outcomeOf(attempt);
              return (
                <li key={`${attempt.attempt} ${attempt.started_at}`}>
                  <Sign state={state} />
                  <div>
                    <b>{attempt.attempt}</b> {text}{" "}
                    <span class="faint">after {between(attempt.started_at, attempt.ended_at)}</span>
                    <div class="faint">
                      <Time at={attempt.started_at} />{" "}
                      {attempt.worker_id && (
                        <>
                          on <Text>{attempt.worker_id}</Text>
                        </>
                      )}
                    </div>
                    {attempt.message && <ErrorLine error={attempt} />}
                  </div>
                </li>
              );
            })}
          </ol>
        ) : (
          <p class="faint">{attempts.loading && !attempts.data ? "Loading…" : noAttempts(step.status)}</p>
        )}
      </section>
      {data && hasResult(data.status) && (
        <section>
          <h3>Result</h3>
          <Json value={data.result} label={`Result of ${step.name}`} />
        </section>
      )}
      <section>
        <h3>Input</h3>
        <p>
          The <a href={linkHere({ tab: "input" })}>input of the task</a>
          {step.dependencies.length > 0 && ", and the results of:"}
        </p>
        {step.dependencies.length > 0 && <Links steps={step.dependencies} total={step.dependencies.length} />}
      </section>
    </aside>
  );
}

/** What is said of a step without attempts. */
function noAttempts(status: string): string {
  if (status === "skipped") {
    return (
      "It was skipped: a condition of its template does not hold, a decision did not choose it, or all steps that it " +
      "depends on were skipped."
    );
  }
  return isSettled(status) || status === "failed" ? "It has not run." : "It has not started yet.";
}

const LINKS = 12;

function Links({ steps, total }: { steps: string[]; total: number }) {
  return (
    <ul class="plain links">
      {steps.slice(0, LINKS).map((name) => (
        <li key={name}>
          <a href={linkHere({ step: name })}>
            <Text>{name}</Text>
          </a>
        </li>
      ))}
      {total > LINKS && <li class="faint">and {total - LINKS} more</li>}
    </ul>
  );
}

/** The signal for which a step waits. */
const signalOf = (step: StepInspection | undefined): string | undefined =>
  step?.waiting.find(({ signal }) => signal)?.signal ?? undefined;

type Act = "retry" | "resolve" | "signal" | "fork";
type ActionsProps = { task: TaskDetail; step: StepDetail; signal: string | undefined; changed: () => void };

function StepActions({ task, step, signal, changed }: ActionsProps) {
  const [open, setOpen] = useState<Act>();
  const [value, setValue] = useState("null");
  const ended = isFinal(task.status);
  const operates = may("operate");
  const path = v1("tasks", task.task_uuid, "steps", step.name, open ?? "");
  const close = (): void => {
    setOpen(undefined);
  };
  const button = (act: Act, label: string, style = "") => (
    <button
      type="button"
      class={style}
      onClick={() => {
        setOpen(act);
      }}
    >
      {label}
    </button>
  );
  const given = (name: string) => (): Record<string, unknown> | string => {
    const parsed = parseInput(value);
    return "error" in parsed ? parsed.error : { [name]: parsed.value };
  };
  const field = (label: string) => (
    <label>
      <span>
        {label} <span class="faint">(any JSON)</span>
      </span>
      <textarea
        name="value"
        class="code"
        rows={8}
        spellcheck={false}
        value={value}
        onInput={(event) => {
          setValue(event.currentTarget.value);
        }}
      />
    </label>
  );
  return (
    <div class="row">
      {operates && !ended && step.status === "failed" && button("retry", "Retry", "primary")}
      {may("submit") && !ended && signal !== undefined && button("signal", "Send the signal…", "primary")}
      {operates && !ended && !isSettled(step.status) && button("resolve", "Resolve…")}
      {operates && button("fork", "Run again from here…")}
      {open === "retry" && (
        <ActionDialog
          action={{
            title: "Retry the step",
            explain: "The step runs again, with all its attempts.",
            verb: "Retry",
            path,
          }}
          close={close}
          done={changed}
        />
      )}
      {open === "resolve" && (
        <ActionDialog
          action={{
            title: "Resolve the step by hand",
            explain: "The step gets this result and does not run again. The steps that depend on it continue.",
            verb: "Resolve",
            path,
            body: given("result"),
          }}
          close={close}
          done={changed}
        >
          {field("Result")}
        </ActionDialog>
      )}
      {open === "signal" && signal !== undefined && (
        <ActionDialog
          action={{
            title: "Send the signal",
            explain: (
              <>
                All steps of this task that wait for the signal{" "}
                <b>
                  <Text>{signal}</Text>
                </b>{" "}
                continue, and receive the payload. A signal cannot be taken back or changed.
              </>
            ),
            verb: "Send the signal",
            path: v1("tasks", task.task_uuid, "signals", signal),
            reason: false,
            body: given("payload"),
          }}
          close={close}
          done={changed}
        >
          {field("Payload")}
        </ActionDialog>
      )}
      {open === "fork" && (
        <ActionDialog
          action={{
            title: "Run again from this step",
            explain:
              "A new task starts with the same input. This step and the steps that depend on it run again. The new " +
              "task takes the results of the other steps from this task, which does not change.",
            verb: "Start the new task",
            path: v1("tasks", task.task_uuid, "fork"),
            body: () => ({ step: step.name }),
          }}
          close={close}
          done={(response) => {
            go(taskLink((response as TaskSummary).task_uuid));
          }}
        />
      )}
    </div>
  );
}
