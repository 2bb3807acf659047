// Actions on the selected tasks of a page, or on all tasks that match the filter.

import { useEffect, useState } from "preact/hooks";
import { plural } from "../format";
import { type ApiError, asApiError, request, v1 } from "../http";
import type { Filter } from "../pages/tasks";
import type { BulkJob, BulkPreview, TaskSummary } from "../api-types";
import { go, link } from "../route";
import { Failure, Text } from "./basic";
import { Dialog } from "./dialog";
import { State } from "./state";

/** The selected tasks, or all that match. */
export type Choice = { ids: Set<string>; all: boolean };

type Verb = "retry" | "cancel" | "fail";

const VERBS: { verb: Verb; label: string; explain: string; danger: boolean }[] = [
  { verb: "retry", label: "Retry", explain: "The failed steps run again, with all their attempts.", danger: false },
  {
    verb: "cancel",
    label: "Cancel",
    explain: "No more steps start, and results of running steps are refused. This is final.",
    danger: true,
  },
  { verb: "fail", label: "Mark as failed", explain: "Blocked tasks become failed. This is final.", danger: true },
];

type Props = {
  choice: Choice;
  setChoice: (choice: Choice) => void;
  filter: Filter;
  shown: TaskSummary[];
  done: () => void;
};

export function BulkBar({ choice, setChoice, filter, shown, done }: Props) {
  const [verb, setVerb] = useState<Verb>();
  const size = choice.ids.size;
  const close = (): void => {
    setVerb(undefined);
  };
  // A job needs a condition. A search has no job: it finds few tasks.
  const hasJob = Object.keys(filter).length > 0 && filter.q === undefined;
  return (
    <div class={`bulk ${size > 0 ? "on" : ""}`}>
      {size === 0 ? (
        <p class="faint">{plural(shown.length, "task")} on this page. Select some to retry, cancel or fail them.</p>
      ) : (
        <p aria-live="polite">{choice.all ? "All tasks that match the filter" : plural(size, "task") + " selected"}</p>
      )}
      {size === shown.length && !choice.all && hasJob && (
        <button
          type="button"
          class="quiet"
          onClick={() => {
            setChoice({ ...choice, all: true });
          }}
        >
          Select all that match
        </button>
      )}
      {size > 0 && (
        <>
          {VERBS.map(({ verb: each, label, danger }) => (
            <button
              key={each}
              type="button"
              class={danger ? "danger" : ""}
              onClick={() => {
                setVerb(each);
              }}
            >
              {label}
            </button>
          ))}
          <button
            type="button"
            class="quiet"
            onClick={() => {
              setChoice({ ids: new Set(), all: false });
            }}
          >
            Clear
          </button>
        </>
      )}
      {verb &&
        (choice.all ? (
          <JobDialog verb={verb} filter={filter} close={close} />
        ) : (
          <EachDialog verb={verb} ids={[...choice.ids]} close={close} done={done} />
        ))}
    </div>
  );
}

function verbOf(verb: Verb) {
  return VERBS.find((each) => each.verb === verb) ?? { verb, label: verb, explain: "", danger: true };
}

function Reason({ reason, setReason }: { reason: string; setReason: (reason: string) => void }) {
  return (
    <label>
      <span>
        Reason <span class="faint">(the history of each task keeps it)</span>
      </span>
      <input
        name="reason"
        required
        maxLength={1000}
        autocomplete="off"
        value={reason}
        onInput={(event) => {
          setReason(event.currentTarget.value);
        }}
      />
    </label>
  );
}

/** Acts on all tasks that match, as a job of the server. The server says first how many these are. */
function JobDialog({ verb, filter, close }: { verb: Verb; filter: Filter; close: () => void }) {
  const { label, explain, danger } = verbOf(verb);
  const [preview, setPreview] = useState<BulkPreview>();
  const [error, setError] = useState<ApiError>();
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    request<BulkPreview>("POST", v1("bulk"), { body: { action: verb, filter, dry_run: true } }).then(
      setPreview,
      (failure: unknown) => {
        setError(asApiError(failure));
      },
    );
  }, []);
  const start = (): void => {
    setBusy(true);
    request<BulkJob>("POST", v1("bulk"), { body: { action: verb, filter, reason } }).then(
      ({ id }) => {
        close();
        go(link(["bulk"], { job: id }));
      },
      (failure: unknown) => {
        setError(asApiError(failure));
        setBusy(false);
      },
    );
  };
  return (
    <Dialog title={`${label} all tasks that match`} close={close} wide>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          start();
        }}
      >
        <p>{explain}</p>
        {preview && (
          <>
            <p class="preview" role="status">
              <Matched preview={preview} /> Tasks whose state does not allow this are skipped.
            </p>
            {preview.examples.length > 0 && (
              <ul class="lines">
                {preview.examples.map((task) => (
                  <li key={task.task_uuid}>
                    <Text>{`${task.namespace}/${task.name}`}</Text>
                    <span class="faint mono">{task.task_uuid.slice(-8)}</span>
                    <State state={task.status} />
                  </li>
                ))}
              </ul>
            )}
          </>
        )}
        <Reason reason={reason} setReason={setReason} />
        {error && <Failure error={error} />}
        <div class="buttons">
          <span class="space" />
          <button type="button" onClick={close}>
            Back
          </button>
          <button
            type="submit"
            class={danger ? "danger" : "primary"}
            disabled={busy || !preview || (preview.complete && preview.matched === 0)}
          >
            {label}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** How many tasks match. The server counts for a moment only; a job does not stop there. */
function Matched({ preview: { matched, complete } }: { preview: BulkPreview }) {
  if (complete) {
    return (
      <>
        <b>{plural(matched, "task")}</b> {matched === 1 ? "matches" : "match"}.
      </>
    );
  }
  if (matched === 0) return <>The server found no task in the time that it counts. The job looks at all tasks.</>;
  return (
    <>
      <b>At least {plural(matched, "task")}</b> match: the server stopped counting. The job acts on all that match.
    </>
  );
}

/** Acts on the selected tasks, one after another. */
function EachDialog({ verb, ids, close, done }: { verb: Verb; ids: string[]; close: () => void; done: () => void }) {
  const { label, explain, danger } = verbOf(verb);
  const [reason, setReason] = useState("");
  const [finished, setFinished] = useState(0);
  const [refused, setRefused] = useState<[string, string][]>([]);
  const [busy, setBusy] = useState(false);
  const run = async (): Promise<void> => {
    setBusy(true);
    const failures: [string, string][] = [];
    for (const id of ids) {
      try {
        await request("POST", v1("tasks", id, verb), { body: { reason } });
      } catch (error) {
        failures.push([id, asApiError(error).message]);
      }
      setFinished((count) => count + 1);
    }
    setRefused(failures);
    done();
    if (failures.length === 0) close();
  };
  return (
    <Dialog title={`${label} ${plural(ids.length, "task")}`} close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void run();
        }}
      >
        <p>{explain}</p>
        <Reason reason={reason} setReason={setReason} />
        {busy && (
          <p role="status">
            {finished} of {ids.length} done
          </p>
        )}
        {refused.length > 0 && (
          <div class="notice bad" role="alert">
            <p>The server refused {plural(refused.length, "task")}:</p>
            <ul>
              {refused.map(([id, message]) => (
                <li key={id}>
                  <span class="mono">{id.slice(-8)}</span> {message}
                </li>
              ))}
            </ul>
          </div>
        )}
        <div class="buttons">
          <span class="space" />
          <button type="button" onClick={close}>
            {refused.length > 0 ? "Close" : "Back"}
          </button>
          <button type="submit" class={danger ? "danger" : "primary"} disabled={busy}>
            {label}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
