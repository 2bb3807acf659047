// What an operator may do to a task. Actions that the key does not allow, or that the state rules out, are not shown.

import { useState } from "preact/hooks";
import { curl, v1 } from "../http";
import { parseInput, pretty } from "../json";
import type { TaskDetail, TaskSummary } from "../api-types";
import { go, link, taskLink } from "../route";
import { may } from "../session";
import { Copy, Text } from "./basic";
import { type Action, ActionDialog } from "./dialog";
import { isFinal } from "./state";

type Name = "retry" | "fail" | "cancel" | "rerun";
type Props = { task: TaskDetail; changed: () => void };

export function TaskActions({ task, changed }: Props) {
  const [open, setOpen] = useState<Name>();
  const [input, setInput] = useState("");
  const [newest, setNewest] = useState(true);
  const ended = isFinal(task.status);
  const failed = task.steps.filter((step) => step.status === "failed").length;
  const close = (): void => {
    setOpen(undefined);
  };
  const button = (name: Name, label: string, style = "") => (
    <button
      type="button"
      class={style}
      onClick={() => {
        if (name === "rerun") setInput(pretty(task.context));
        setOpen(name);
      }}
    >
      {label}
    </button>
  );
  const at = (name: Name): string => v1("tasks", task.task_uuid, name);
  const actions: Record<Name, Action> = {
    retry: {
      title: "Retry the failed steps",
      explain:
        failed === 1
          ? "The failed step runs again, with all its attempts."
          : `All ${failed} failed steps run again, with all their attempts.`,
      verb: "Retry",
      path: at("retry"),
    },
    fail: {
      title: "Mark the task as failed",
      explain: "The task becomes failed, and its steps that have not run are cancelled. This is final.",
      verb: "Mark as failed",
      danger: true,
      path: at("fail"),
    },
    cancel: {
      title: "Cancel the task",
      explain: "No more steps start, and results of running steps are refused. This is final.",
      verb: "Cancel the task",
      danger: true,
      path: at("cancel"),
    },
    rerun: {
      title: "Run again as a new task",
      explain: "A new task starts from this input, with the same priority and tags. This task does not change.",
      verb: "Start the new task",
      path: at("rerun"),
      body: () => {
        const given = parseInput(input);
        if ("error" in given) return given.error;
        const edited = input !== pretty(task.context);
        return { ...(edited && { context: given.value }), ...(!newest && { version: task.version }) };
      },
    },
  };
  return (
    <>
      {may("operate") && !ended && (
        <>
          {failed > 0 &&
            button("retry", failed === 1 ? "Retry the failed step" : `Retry ${failed} failed steps`, "primary")}
          {task.status === "blocked_by_failures" && button("fail", "Mark as failed", "danger")}
          {button("cancel", "Cancel", "danger")}
        </>
      )}
      {may("operate") && button("rerun", "Run again…")}
      <a class="button" href={link(["dlq"], { task: task.task_uuid })}>
        Investigations
      </a>
      <Copy label="Copy as curl" text={() => curl("POST", "/v1/tasks", creation(task))} />
      {open && (
        <ActionDialog
          action={actions[open]}
          close={close}
          done={(response) => {
            if (open === "rerun") go(taskLink((response as TaskSummary).task_uuid));
            else changed();
          }}
        >
          {open === "rerun" ? (
            <>
              <label>
                Input
                <textarea
                  name="context"
                  class="code"
                  rows={14}
                  spellcheck={false}
                  value={input}
                  onInput={(event) => {
                    setInput(event.currentTarget.value);
                  }}
                />
              </label>
              <label class="check">
                <input
                  type="checkbox"
                  checked={newest}
                  onChange={(event) => {
                    setNewest(event.currentTarget.checked);
                  }}
                />
                <span>
                  Use the newest version of <Text>{task.name}</Text>, not {task.version}
                </span>
              </label>
            </>
          ) : undefined}
        </ActionDialog>
      )}
    </>
  );
}

/** The request that creates the same task. */
function creation({ namespace, name, version, context, priority, tags }: TaskDetail): Record<string, unknown> {
  return { namespace, name, version, context, ...(priority !== 0 && { priority }), ...(tags && { tags }) };
}
