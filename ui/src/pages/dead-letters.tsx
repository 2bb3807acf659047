// Dead letters: investigations of tasks that do not go on by themselves. The address holds the filter.

import { useState } from "preact/hooks";
import type { DeadLetter, DeadLetterList, DeadLetterReason, ResolutionStatus } from "../api-types";
import { stateName } from "../format";
import { get, v1 } from "../http";
import { Empty, Loaded, PageHead, Pages, Text, Time, useTitle } from "../parts/basic";
import { ActionDialog } from "../parts/dialog";
import { State } from "../parts/state";
import { usePolled } from "../resource";
import { go, linkHere, route, taskLink } from "../route";
import { may } from "../session";

/** How often the list is loaded again, in milliseconds. */
const INTERVAL = 5_000;
const PAGE = 50;
const STATUSES: ResolutionStatus[] = ["pending", "manually_resolved", "permanently_failed", "cancelled"];
const REASONS: Record<DeadLetterReason, string> = {
  staleness_timeout: "It took too long",
  max_retries_exceeded: "Blocked by failures",
  dependency_cycle_detected: "Its steps depend on each other",
  worker_unavailable: "No worker serves it",
  manual_dlq: "An operator opened it",
};

/** What the dialog is about: an investigation, or the task of a new one. */
type Chosen = { entry: DeadLetter } | { task: string };

export function DeadLetters() {
  useTitle("Dead letters");
  const { query } = route.value;
  const [task, cursor] = [query.get("task") ?? undefined, query.get("cursor") ?? undefined];
  // Without a choice: what is open, or all of the task.
  const status = query.get("status") ?? (task ? "all" : "pending");
  const entries = usePolled(
    JSON.stringify([task, status, cursor]),
    (signal) =>
      get<DeadLetterList>(v1("dlq"), {
        query: { task_uuid: task, resolution_status: status === "all" ? undefined : status, cursor, limit: PAGE },
        signal,
      }),
    INTERVAL,
  );
  const [chosen, setChosen] = useState<Chosen>();
  const close = (): void => {
    setChosen(undefined);
  };
  const opens = task && entries.data?.entries.every((entry) => entry.resolution_status !== "pending");
  return (
    <>
      <PageHead title="Dead letters">
        {opens && may("operate") && (
          <button
            type="button"
            onClick={() => {
              setChosen({ task });
            }}
          >
            Open an investigation…
          </button>
        )}
      </PageHead>
      <p class="lead">
        An investigation keeps in mind a task that does not go on by itself, and what people found out about it.
      </p>
      <div class="filters fields">
        <StatusField
          value={status}
          choices={["all", ...STATUSES]}
          set={(value) => {
            go(linkHere({ status: value, cursor: undefined }));
          }}
        />
        {task && (
          <p class="searched">
            Task{" "}
            <a class="mono" href={taskLink(task)}>
              {task}
            </a>
          </p>
        )}
      </div>
      <Loaded from={entries}>
        {({ entries: list, next_cursor: next }) => (
          <>
            {list.length === 0 ? (
              <Empty title="There is no such investigation.">
                The server opens one when a task is blocked by failures or takes too long.
              </Empty>
            ) : (
              <Table
                entries={list}
                choose={(entry) => {
                  setChosen({ entry });
                }}
              />
            )}
            <Pages first={cursor === undefined} next={next} />
          </>
        )}
      </Loaded>
      {chosen && <InvestigationDialog chosen={chosen} close={close} done={entries.reload} />}
    </>
  );
}

type StatusProps<T extends string> = { value: T; choices: T[]; set: (value: T) => void };

function StatusField<T extends string>({ value, choices, set }: StatusProps<T>) {
  return (
    <label>
      Status
      <select
        value={value}
        onChange={(event) => {
          set(choices.find((each) => each === event.currentTarget.value) ?? value);
        }}
      >
        {choices.map((each) => (
          <option key={each} value={each}>
            {stateName(each)}
          </option>
        ))}
      </select>
    </label>
  );
}

function Table({ entries, choose }: { entries: DeadLetter[]; choose: (entry: DeadLetter) => void }) {
  return (
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Task</th>
            <th scope="col">Reason</th>
            <th scope="col">Task is</th>
            <th scope="col">Status</th>
            <th scope="col">Notes</th>
            <th scope="col">Opened</th>
            <th scope="col">
              <span class="hidden">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {entries.map((entry) => (
            <tr key={entry.dlq_entry_uuid}>
              <th scope="row">
                <a href={taskLink(entry.task_uuid)} data-row>
                  <Text>{`${entry.namespace}/${entry.name}`}</Text>
                </a>
                <div class="faint mono" title={entry.task_uuid}>
                  {entry.task_uuid.slice(-8)}
                </div>
              </th>
              <td>{REASONS[entry.dlq_reason]}</td>
              <td>
                <State state={entry.current_state} />
              </td>
              <td>
                {stateName(entry.resolution_status)}
                {entry.resolved_at && (
                  <div class="faint">
                    <Time at={entry.resolved_at} />
                    {entry.resolved_by && (
                      <>
                        {" "}
                        by <Text>{entry.resolved_by}</Text>
                      </>
                    )}
                  </div>
                )}
              </td>
              <td>
                <Text>{entry.resolution_notes ?? ""}</Text>
              </td>
              <td>
                <Time at={entry.created_at} />
              </td>
              <td>
                {may("operate") && (
                  <button
                    type="button"
                    onClick={() => {
                      choose(entry);
                    }}
                  >
                    Change…
                  </button>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Opens an investigation, or records what was found out and closes it. */
function InvestigationDialog({ chosen, close, done }: { chosen: Chosen; close: () => void; done: () => void }) {
  const entry = "entry" in chosen ? chosen.entry : undefined;
  const [status, setStatus] = useState(entry?.resolution_status ?? "pending");
  const [notes, setNotes] = useState(entry?.resolution_notes ?? "");
  const given = notes === (entry?.resolution_notes ?? "") ? {} : { resolution_notes: notes };
  return (
    <ActionDialog
      action={{
        title: entry ? "Change the investigation" : "Open an investigation",
        explain: "The task does not change. To let it go on, retry or resolve its steps.",
        verb: entry ? "Save" : "Open",
        method: entry ? "PATCH" : "POST",
        path: entry ? v1("dlq", entry.dlq_entry_uuid) : v1("dlq"),
        reason: false,
        body: () => ("task" in chosen ? { task_uuid: chosen.task, ...given } : { resolution_status: status, ...given }),
      }}
      close={close}
      done={done}
    >
      {entry && <StatusField value={status} choices={STATUSES} set={setStatus} />}
      <label>
        Notes
        <textarea
          name="notes"
          rows={5}
          value={notes}
          onInput={(event) => {
            setNotes(event.currentTarget.value);
          }}
        />
      </label>
    </ActionDialog>
  );
}
