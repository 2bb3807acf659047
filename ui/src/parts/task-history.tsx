// The history of a task: all changes of its state and of its steps.

import { useState } from "preact/hooks";
import { get, v1 } from "../http";
import type { TaskDetail, TransitionList } from "../api-types";
import { useResource } from "../resource";
import { linkHere } from "../route";
import { Loaded, Text, Time } from "./basic";
import { State } from "./state";

const PAGE = 500;

/** `round` changes when a step of the task has changed. */
export function TaskHistory({ task, round }: { task: TaskDetail; round: number }) {
  const [cursors, setCursors] = useState<string[]>([]);
  const cursor = cursors.at(-1);
  const list = useResource<TransitionList>(
    `${task.task_uuid} ${cursor ?? ""}`,
    (signal) => get(v1("tasks", task.task_uuid, "transitions"), { query: { limit: PAGE, cursor }, signal }),
    round,
  );
  if (!list.data) return <Loaded from={list}>{() => null}</Loaded>;
  const { transitions, next_cursor } = list.data;
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
