// The queue of each namespace.

import { countUpTo, duration } from "../format";
import { Empty, Loaded, PageHead, Text, useTitle } from "../parts/basic";
import { link } from "../route";
import { LONG_WAIT_S, useStats } from "./dashboard";

export function Queues() {
  useTitle("Queues");
  const stats = useStats();
  return (
    <>
      <PageHead title="Queues" />
      <p class="lead">
        Each namespace has one queue. A message means that a step is ready, or that it runs or waits for its next
        attempt and is hidden until then.
      </p>
      <Loaded from={stats}>
        {({ queues, count_limit }) =>
          queues.length === 0 ? (
            <Empty title="There is no queue yet.">The first template of a namespace creates its queue.</Empty>
          ) : (
            <div class="scroll">
              <table>
                <thead>
                  <tr>
                    <th scope="col">Namespace</th>
                    <th scope="col" class="number">
                      Ready
                    </th>
                    <th scope="col" class="number">
                      Hidden
                    </th>
                    <th scope="col" class="number">
                      Oldest ready waits
                    </th>
                    <th scope="col">Tasks</th>
                  </tr>
                </thead>
                <tbody>
                  {queues.map(({ namespace, ready, hidden, oldest_ready_seconds: oldest }) => (
                    <tr key={namespace}>
                      <th scope="row">
                        <Text>{namespace}</Text>
                      </th>
                      <td class="number">{countUpTo(ready, count_limit)}</td>
                      <td class="number">{countUpTo(hidden, count_limit)}</td>
                      <td class={`number ${(oldest ?? 0) >= LONG_WAIT_S ? "warn-text" : ""}`}>
                        {typeof oldest === "number" ? duration(oldest * 1000) : <span class="faint">–</span>}
                      </td>
                      <td>
                        <a href={link(["tasks"], { namespace, status: "in_progress,pending" })} data-row>
                          Open tasks
                        </a>
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Loaded>
    </>
  );
}
