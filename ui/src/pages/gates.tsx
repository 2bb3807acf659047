// Gates: how many steps wait, which ones hold slots, and the limits.

import { useState } from "preact/hooks";
import type { Gate, GateDetail, GateList, GateRate } from "../api-types";
import { count, countUpTo } from "../format";
import { get, v1 } from "../http";
import { Empty, Loaded, PageHead, Text, Time, useTitle } from "../parts/basic";
import { ActionDialog, Dialog } from "../parts/dialog";
import { usePolled } from "../resource";
import { taskLink } from "../route";
import { may } from "../session";

/** How often the list is loaded again, in milliseconds. */
const INTERVAL = 5_000;
/** Counts of the server stop here. */
const COUNT_LIMIT = 10_001;
/** The largest numbers of steps and of seconds. */
const MOST_STEPS = 100_000;
const MOST_SECONDS = 604_800;

/** Which dialog is open: the steps that hold slots, or what is being set. */
type Chosen = { gate: Gate; what: "holders" | "limit" | "rate" };

export function Gates() {
  useTitle("Gates");
  const gates = usePolled("gates", (signal) => get<GateList>(v1("gates"), { signal }), INTERVAL);
  const [chosen, setChosen] = useState<Chosen>();
  const close = (): void => {
    setChosen(undefined);
  };
  const done = (): void => {
    close();
    gates.reload();
  };
  return (
    <>
      <PageHead title="Gates" />
      <p class="lead">
        A gate limits how many steps run at once, or how many start in a time. Each key has the limit for itself.
      </p>
      <Loaded from={gates}>
        {({ gates: list }) =>
          list.length === 0 ? (
            <Empty title="There is no gate.">
              A template creates one with <code>concurrency</code> or <code>rate</code>.
            </Empty>
          ) : (
            <div class="scroll">
              <table>
                <thead>
                  <tr>
                    <th scope="col">Gate</th>
                    <th scope="col">At once</th>
                    <th scope="col">In a time</th>
                    <th scope="col" class="number">
                      Hold a slot
                    </th>
                    <th scope="col" class="number">
                      Wait
                    </th>
                    <th scope="col">
                      <span class="hidden">Actions</span>
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {list.map((gate) => (
                    <Row
                      key={`${gate.namespace}/${gate.name}`}
                      gate={gate}
                      choose={(what) => {
                        setChosen({ gate, what });
                      }}
                    />
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Loaded>
      {chosen?.what === "holders" && <HoldersDialog gate={chosen.gate} close={close} />}
      {chosen?.what === "limit" && <LimitDialog gate={chosen.gate} close={close} done={done} />}
      {chosen?.what === "rate" && <RateDialog gate={chosen.gate} close={close} done={done} />}
    </>
  );
}

function Row({ gate, choose }: { gate: Gate; choose: (what: Chosen["what"]) => void }) {
  const { namespace, name, limit, template_limit: ofTemplates, rate, template_rate: rateOfTemplates } = gate;
  return (
    <tr>
      <th scope="row">
        <Text>{name}</Text>
        <div class="faint">
          <Text>{namespace}</Text>
        </div>
      </th>
      <td>
        {limit === 0 ? "Closed" : (limit ?? <span class="faint">–</span>)}
        {limit !== ofTemplates && <div class="faint">templates: {ofTemplates}</div>}
      </td>
      <td>
        {rate ? perTime(rate) : <span class="faint">–</span>}
        {rate && rateOfTemplates && perTime(rate) !== perTime(rateOfTemplates) && (
          <div class="faint">templates: {perTime(rateOfTemplates)}</div>
        )}
      </td>
      <td class="number">
        {gate.holding === 0 ? (
          "0"
        ) : (
          <button
            type="button"
            class="quiet"
            aria-label={`${countUpTo(gate.holding, COUNT_LIMIT)} hold a slot of ${name}: show them`}
            onClick={() => {
              choose("holders");
            }}
          >
            {countUpTo(gate.holding, COUNT_LIMIT)}
          </button>
        )}
      </td>
      <td class="number">{countUpTo(gate.waiting, COUNT_LIMIT)}</td>
      <td>
        {may("operate") && typeof limit === "number" && (
          <button
            type="button"
            onClick={() => {
              choose("limit");
            }}
          >
            Set the limit…
          </button>
        )}{" "}
        {may("operate") && rate && (
          <button
            type="button"
            onClick={() => {
              choose("rate");
            }}
          >
            Set the rate…
          </button>
        )}
      </td>
    </tr>
  );
}

function perTime({ limit, per_seconds: seconds, burst }: GateRate): string {
  return `${limit} in ${seconds} s, ${burst} at once`;
}

/** The number that a text says, if it is a whole one within these bounds. */
function wholeNumber(text: string, least: number, most: number): number | undefined {
  const value = Number(text);
  return /^\d+$/.test(text.trim()) && value >= least && value <= most ? value : undefined;
}

type FieldProps = { label: string; value: string; set: (value: string) => void };

function NumberField({ label, value, set }: FieldProps) {
  return (
    <label>
      {label}
      <input
        inputMode="numeric"
        autocomplete="off"
        value={value}
        onInput={(event) => {
          set(event.currentTarget.value);
        }}
      />
    </label>
  );
}

/** The steps that hold the slots, the first 100 in the order of their keys. */
function HoldersDialog({ gate: { namespace, name }, close }: { gate: Gate; close: () => void }) {
  const gate = usePolled("holders", (signal) => get<GateDetail>(v1("gates", namespace, name), { signal }), INTERVAL);
  return (
    <Dialog title={`Steps that hold a slot of ${name}`} close={close} wide>
      <Loaded from={gate}>
        {({ holders, holding }) => (
          <>
            <div class="scroll">
              <table>
                <thead>
                  <tr>
                    <th scope="col">Step</th>
                    <th scope="col">Key</th>
                    <th scope="col">Since</th>
                  </tr>
                </thead>
                <tbody>
                  {holders.map(({ task_uuid: task, step, key, since }) => (
                    <tr key={`${task} ${step}`}>
                      <th scope="row">
                        <a href={taskLink(task, { step })}>
                          <Text>{step}</Text>
                        </a>
                        <div class="faint mono" title={task}>
                          {task.slice(-8)}
                        </div>
                      </th>
                      <td>{key ? <Text>{key}</Text> : <span class="faint">–</span>}</td>
                      <td>
                        <Time at={since} as="ago" />
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
            {holding > holders.length && <p class="faint">and {count(holding - holders.length)} more</p>}
          </>
        )}
      </Loaded>
      <div class="buttons">
        <button type="button" onClick={close}>
          Close
        </button>
      </div>
    </Dialog>
  );
}

type DialogProps = { gate: Gate; close: () => void; done: () => void };

/** Sets how many steps run at once, or lets the templates decide again. */
function LimitDialog({ gate, close, done }: DialogProps) {
  const [limit, setLimit] = useState(String(gate.limit ?? ""));
  return (
    <ActionDialog
      action={{
        title: `Limit of ${gate.name}`,
        explain:
          "It replaces the limit of the templates, for each key. Steps that wait get the slots that are free now. " +
          "Steps that run are not stopped. 0 closes the gate. Leave it empty to let the templates decide again.",
        verb: "Set the limit",
        method: "PATCH",
        path: v1("gates", gate.namespace, gate.name),
        reason: false,
        body: () => {
          if (limit.trim() === "") return { limit: null };
          const value = wholeNumber(limit, 0, MOST_STEPS);
          return value === undefined ? `The limit must be a number from 0 to ${MOST_STEPS}.` : { limit: value };
        },
      }}
      close={close}
      done={done}
    >
      <NumberField label="Limit" value={limit} set={setLimit} />
    </ActionDialog>
  );
}

/** Sets how many steps start in a time, or lets the templates decide again. */
function RateDialog({ gate, close, done }: DialogProps) {
  const [steps, setSteps] = useState(String(gate.rate?.limit ?? ""));
  const [seconds, setSeconds] = useState(String(gate.rate?.per_seconds ?? ""));
  const [burst, setBurst] = useState(String(gate.rate?.burst ?? ""));
  return (
    <ActionDialog
      action={{
        title: `Rate of ${gate.name}`,
        explain:
          "It replaces the rate of the templates, for each key. So many steps start in this time: some of them at " +
          "once, and the others evenly spread. Leave all fields empty to let the templates decide again.",
        verb: "Set the rate",
        method: "PATCH",
        path: v1("gates", gate.namespace, gate.name),
        reason: false,
        body: () => {
          if ([steps, seconds, burst].every((text) => text.trim() === "")) return { rate: null };
          const limit = wholeNumber(steps, 1, MOST_STEPS);
          if (limit === undefined) return `The steps must be a number from 1 to ${MOST_STEPS}.`;
          const per = wholeNumber(seconds, 1, MOST_SECONDS);
          if (per === undefined) return `The seconds must be a number from 1 to ${MOST_SECONDS}, seven days.`;
          const atOnce = wholeNumber(burst, 1, limit);
          if (atOnce === undefined) return `The steps at once must be a number from 1 to ${limit}.`;
          return { rate: { limit, per_seconds: per, burst: atOnce } };
        },
      }}
      close={close}
      done={done}
    >
      <NumberField label="Steps" value={steps} set={setSteps} />
      <NumberField label="Seconds" value={seconds} set={setSeconds} />
      <NumberField label="Steps at once" value={burst} set={setBurst} />
    </ActionDialog>
  );
}
