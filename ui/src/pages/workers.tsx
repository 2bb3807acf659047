// The workers that have sent a heartbeat.

import type { WorkerList, WorkerSummary } from "../api-types";
import { count, rate } from "../format";
import { get } from "../http";
import { Empty, Loaded, Meter, PageHead, Text, Time, useSome, useTitle } from "../parts/basic";
import { State } from "../parts/state";
import { useLive, useResource } from "../resource";

export function Workers() {
  useTitle("Workers");
  const workers = useResource("workers", (signal) => get<WorkerList>("/v1/workers", { signal }));
  useLive(["workers"], ({ name, data }) => {
    if (name === "workers") workers.update(() => data as WorkerList);
  });
  return (
    <>
      <PageHead title="Workers" />
      <Loaded from={workers}>
        {({ workers: list }) =>
          list.length === 0 ? (
            <Empty title="No worker has sent a heartbeat yet.">
              Start one, for example <code>rust-worker</code>. Until then, steps wait in their queues.
            </Empty>
          ) : (
            <Table workers={list} />
          )
        }
      </Loaded>
    </>
  );
}

function Table({ workers }: { workers: WorkerSummary[] }) {
  const { some, more } = useSome(workers, "worker");
  return (
    <>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Worker</th>
              <th scope="col">State</th>
              <th scope="col">Serves</th>
              <th scope="col">Steps</th>
              <th scope="col" class="number">
                Completed/s
              </th>
              <th scope="col" class="number">
                Failed/s
              </th>
              <th scope="col">Last heartbeat</th>
              <th scope="col">Version</th>
            </tr>
          </thead>
          <tbody>
            {some.map((worker) => (
              <tr key={worker.worker_id}>
                <th scope="row">
                  <code>
                    <Text>{worker.worker_id}</Text>
                  </code>
                  <div class="faint">
                    on <Text>{worker.host}</Text>, since <Time at={worker.started_at} />
                  </div>
                </th>
                <td>
                  <State state={worker.status} />
                </td>
                <td>
                  <Serves worker={worker} />
                </td>
                <td>
                  {count(worker.running_steps ?? 0)} of {count(worker.max_concurrent)}
                  <Meter done={worker.running_steps ?? 0} total={worker.max_concurrent} label="Slots in use" />
                </td>
                <td class="number">{rate(worker.completed_per_second ?? 0)}</td>
                <td class={`number ${worker.failed_per_second ? "bad-text" : ""}`}>
                  {rate(worker.failed_per_second ?? 0)}
                </td>
                <td>
                  <Time at={worker.last_heartbeat_at} as="ago" />
                </td>
                <td>
                  <code>{worker.version}</code>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {more}
    </>
  );
}

function Serves({ worker: { namespaces, handlers } }: { worker: WorkerSummary }) {
  return (
    <details>
      <summary>
        {namespaces.length === 1 ? <Text>{namespaces[0] ?? ""}</Text> : `${namespaces.length} namespaces`}
        {handlers && `, ${handlers.length} handlers`}
      </summary>
      <ul class="plain">
        {(handlers ?? namespaces).map((name) => (
          <li key={name}>
            <code>
              <Text>{name}</Text>
            </code>
          </li>
        ))}
      </ul>
    </details>
  );
}
