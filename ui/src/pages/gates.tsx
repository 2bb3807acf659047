// Gates: how many steps hold slots and wait, and their limits.

import { useEffect, useState } from "preact/hooks";
import type { Gate, GateList, GateRate } from "../api-types";
import { countUpTo } from "../format";
import { get, v1 } from "../http";
import { Empty, Loaded, PageHead, Text, useTitle } from "../parts/basic";
import { ActionDialog } from "../parts/dialog";
import { useResource } from "../resource";
import { may } from "../session";

/** How often the list is loaded again, in milliseconds. */
const INTERVAL = 5_000;
/** Counts of the server stop here. */
const COUNT_LIMIT = 10_001;
const LARGEST = 100_000;

export function Gates() {
  useTitle("Gates");
  const gates = useResource("gates", (signal) => get<GateList>(v1("gates"), { signal }));
  const [chosen, setChosen] = useState<Gate>();
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) gates.reload();
    }, INTERVAL);
    return () => {
      clearInterval(timer);
    };
  }, []);
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
                      choose={() => {
                        setChosen(gate);
                      }}
                    />
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Loaded>
      {chosen && (
        <LimitDialog
          gate={chosen}
          close={() => {
            setChosen(undefined);
          }}
          done={() => {
            setChosen(undefined);
            gates.reload();
          }}
        />
      )}
    </>
  );
}

function Row({ gate, choose }: { gate: Gate; choose: () => void }) {
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
      <td class="number">{countUpTo(gate.holding, COUNT_LIMIT)}</td>
      <td class="number">{countUpTo(gate.waiting, COUNT_LIMIT)}</td>
      <td>
        {may("operate") && typeof limit === "number" && (
          <button type="button" onClick={choose}>
            Set the limit…
          </button>
        )}
      </td>
    </tr>
  );
}

function perTime({ limit, per_seconds: seconds, burst }: GateRate): string {
  return `${limit} in ${seconds} s, ${burst} at once`;
}

type LimitProps = { gate: Gate; close: () => void; done: () => void };

/** Sets how many steps run at once, or lets the templates decide again. */
function LimitDialog({ gate, close, done }: LimitProps) {
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
          const text = limit.trim();
          if (text === "") return { limit: null };
          const value = Number(text);
          return /^\d+$/.test(text) && value <= LARGEST
            ? { limit: value }
            : `The limit must be a number from 0 to ${LARGEST}.`;
        },
      }}
      close={close}
      done={done}
    >
      <label>
        Limit
        <input
          inputMode="numeric"
          value={limit}
          onInput={(event) => {
            setLimit(event.currentTarget.value);
          }}
        />
      </label>
    </ActionDialog>
  );
}
