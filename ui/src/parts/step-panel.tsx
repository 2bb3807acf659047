// One step of a task: why it waits, its attempts, error, input and result, and what an operator may do about it.

import { useState } from "preact/hooks";
import { between } from "../format";
import { get, v1 } from "../http";
import { parseInput } from "../json";
import type { AttemptList, StepDetail, StepInspection, TaskDetail } from "../api-types";
import { useResource } from "../resource";
import { linkHere } from "../route";
import { may } from "../session";
import { ErrorLine, Failure, Text, Time } from "./basic";
import { ActionDialog } from "./dialog";
import { Json } from "./json";
import { hasResult, isFinal, Sign, State } from "./state";
import { outcomeOf } from "./timeline";

type Props = { task: TaskDetail; step: StepDetail; round: number; changed: () => void };

export function StepPanel({ task, step, round, changed }: Props) {
  const id = task.task_uuid;
  const path = v1("tasks", id, "steps", step.name);
  const version = `${step.status} ${step.attempts}`;
  const view = useResource<StepInspection>(path, (signal) => get(path, { signal }), version);
  const attempts = useResource<AttemptList>(
    path,
    (signal) => get(v1("tasks", id, "attempts"), { query: { step: step.name }, signal }),
    `${version} ${round}`,
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
      <StepActions task={task} step={step} changed={changed} />
      {view.error && <Failure error={view.error} retry={view.reload} />}
      {data && data.waiting.length > 0 && (
        <section>
          <h3>Why is it waiting?</h3>
          <ul class="plain">
            {data.waiting.map((why) => (
              <li key={why.reason}>
                <Text>{why.message}</Text>
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
          <p class="faint">{attempts.loading ? "Loading…" : "It has not started yet."}</p>
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

function StepActions({ task, step, changed }: { task: TaskDetail; step: StepDetail; changed: () => void }) {
  const [open, setOpen] = useState<"retry" | "resolve">();
  const [result, setResult] = useState("null");
  if (!may("operate") || isFinal(task.status) || hasResult(step.status)) return null;
  const path = v1("tasks", task.task_uuid, "steps", step.name, open ?? "");
  const close = (): void => {
    setOpen(undefined);
  };
  return (
    <div class="row">
      {step.status === "failed" && (
        <button
          type="button"
          class="primary"
          onClick={() => {
            setOpen("retry");
          }}
        >
          Retry
        </button>
      )}
      <button
        type="button"
        onClick={() => {
          setOpen("resolve");
        }}
      >
        Resolve…
      </button>
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
            body: () => {
              const given = parseInput(result);
              return "error" in given ? given.error : { result: given.value };
            },
          }}
          close={close}
          done={changed}
        >
          <label>
            <span>
              Result <span class="faint">(any JSON)</span>
            </span>
            <textarea
              name="result"
              class="code"
              rows={8}
              spellcheck={false}
              value={result}
              onInput={(event) => {
                setResult(event.currentTarget.value);
              }}
            />
          </label>
        </ActionDialog>
      )}
    </div>
  );
}
