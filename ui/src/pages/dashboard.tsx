// What needs attention first, then the counts, the rates and the queues.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { DeadLetterList, Schedule, ScheduleList, Stats, TaskList, TaskState } from "../api-types";
import { count, countUpTo, duration, plural, rate, stateName } from "../format";
import { get, v1 } from "../http";
import { Card, Empty, Loaded, Meter, PageHead, Text, Time, useTitle } from "../parts/basic";
import { look, Sign, type Tone } from "../parts/state";
import { type Resource, useLive, usePolled, useResource } from "../resource";
import { link, taskLink, templateLink } from "../route";

export const STATES: TaskState[] = [
  "pending",
  "in_progress",
  "blocked_by_failures",
  "completed",
  "failed",
  "cancelled",
];

/** The statistics, live. */
export function useStats(): Resource<Stats> {
  const stats = useResource("stats", (signal) => get<Stats>("/v1/stats", { signal }));
  useLive(["stats"], ({ name, data }) => {
    if (name === "stats") stats.update(() => data as Stats);
  });
  return stats;
}

/** How long a ready step may wait before it is worth a look, in seconds. */
export const LONG_WAIT_S = 60;

/** How often schedules and investigations are looked at, in milliseconds. */
const SLOW_MS = 15_000;

export function Dashboard() {
  useTitle("Dashboard");
  const stats = useStats();
  return (
    <>
      <PageHead title="Dashboard" />
      <Loaded from={stats}>
        {(data) => (
          <>
            <Attention stats={data} />
            <Counts stats={data} />
            <div class="columns">
              <Blocked stats={data} />
              <Throughput stats={data} />
            </div>
            <Namespaces stats={data} />
          </>
        )}
      </Loaded>
    </>
  );
}

const total = (stats: Stats, status: TaskState): number =>
  stats.tasks.reduce((sum, entry) => (entry.status === status ? sum + entry.count : sum), 0);

/** A sum of counts. If one of them has stopped at the limit, so has the sum. */
function shownTotal(stats: Stats, status: TaskState): string {
  const parts = stats.tasks.filter((entry) => entry.status === status);
  const stopped = parts.some((entry) => entry.count >= stats.count_limit);
  const sum = parts.reduce((all, entry) => all + Math.min(entry.count, stats.count_limit - 1), 0);
  return `${count(sum)}${stopped ? "+" : ""}`;
}

type Problem = { tone: Tone; key: string; text: ComponentChildren; href: string; action: string };

function problems(stats: Stats, schedules: Schedule[], investigations: DeadLetterList): Problem[] {
  const found: Problem[] = [];
  for (const { namespace, status, count: blocked } of stats.tasks) {
    if (status !== "blocked_by_failures") continue;
    found.push({
      tone: "bad",
      key: `blocked ${namespace}`,
      text: (
        <>
          <b>{countUpTo(blocked, stats.count_limit)}</b> {blocked === 1 ? "task of" : "tasks of"}{" "}
          <b>
            <Text>{namespace}</Text>
          </b>{" "}
          {blocked === 1 ? "is" : "are"} blocked by failures and {blocked === 1 ? "waits" : "wait"} for a decision.
        </>
      ),
      href: link(["tasks"], { namespace, status: "blocked_by_failures" }),
      action: "Decide",
    });
  }
  for (const { namespace, callable, templates, open_tasks } of stats.unserved) {
    found.push({
      tone: "bad",
      key: `unserved ${namespace} ${callable}`,
      text: (
        <>
          No live worker has the handler{" "}
          <code>
            <Text>{callable}</Text>
          </code>
          . {plural(open_tasks, "open task")} of{" "}
          <b>
            <Text>{namespace}</Text>
          </b>{" "}
          {open_tasks === 1 ? "needs" : "need"} it.
        </>
      ),
      href: templates[0] ? templateLink(namespace, templates[0]) : link(["workers"]),
      action: "See the template",
    });
  }
  if (stats.workers.lost > 0) {
    found.push({
      tone: "bad",
      key: "lost",
      text: (
        <>
          <b>{plural(stats.workers.lost, "worker")}</b> stopped without a shutdown. The steps start again elsewhere when
          the leases end.
        </>
      ),
      href: link(["workers"]),
      action: "See the workers",
    });
  }
  for (const namespace of stats.paused ?? []) {
    found.push({
      tone: "warn",
      key: `paused ${namespace}`,
      text: (
        <>
          Namespace{" "}
          <b>
            <Text>{namespace}</Text>
          </b>{" "}
          is paused: none of its steps start. <code>tasker-cli namespace resume</code> ends the pause.
        </>
      ),
      href: link(["tasks"], { namespace, status: "pending,in_progress" }),
      action: "See the tasks",
    });
  }
  // The blocked ones stand above.
  const others = investigations.entries.filter((entry) => entry.current_state !== "blocked_by_failures");
  if (others.length > 0) {
    found.push({
      tone: "warn",
      key: "investigations",
      text: (
        <>
          {investigations.next_cursor && "At least "}
          <b>{plural(others.length, "investigation")}</b> of tasks that are not blocked{" "}
          {others.length === 1 ? "is" : "are"} open: they took too long, or somebody asked for it.
        </>
      ),
      href: link(["dlq"]),
      action: "See the dead letters",
    });
  }
  for (const { namespace, name, limit, waiting } of stats.gates ?? []) {
    if (limit !== 0 || waiting === 0) continue;
    found.push({
      tone: "warn",
      key: `gate ${namespace} ${name}`,
      text: (
        <>
          Gate{" "}
          <b>
            <Text>{name}</Text>
          </b>{" "}
          of{" "}
          <b>
            <Text>{namespace}</Text>
          </b>{" "}
          is closed, and {countUpTo(waiting, stats.count_limit)} {waiting === 1 ? "step waits" : "steps wait"} for it.
        </>
      ),
      href: link(["gates"]),
      action: "See the gates",
    });
  }
  for (const { name, last_outcome: outcome, last_error: error } of schedules) {
    if (outcome !== "failed" && outcome !== "missed") continue;
    found.push({
      tone: outcome === "failed" ? "bad" : "warn",
      key: `schedule ${name}`,
      text: (
        <>
          Schedule{" "}
          <b>
            <Text>{name}</Text>
          </b>{" "}
          {outcome === "failed" ? "could not create its last task" : "missed its last time"}
          {error && (
            <>
              : <Text>{error}</Text>
            </>
          )}
          .
        </>
      ),
      href: link(["schedules"]),
      action: "See the schedules",
    });
  }
  for (const { namespace, ready, oldest_ready_seconds: oldest } of stats.queues) {
    if (!oldest || oldest < LONG_WAIT_S) continue;
    found.push({
      tone: "warn",
      key: `queue ${namespace}`,
      text: (
        <>
          The queue of{" "}
          <b>
            <Text>{namespace}</Text>
          </b>{" "}
          holds {countUpTo(ready, stats.count_limit)} ready {ready === 1 ? "step" : "steps"}. The oldest has waited for{" "}
          {duration(oldest * 1000)}.
        </>
      ),
      href: link(["queues"]),
      action: "See the queues",
    });
  }
  return found;
}

function Attention({ stats }: { stats: Stats }) {
  const schedules = usePolled("schedules", (signal) => get<ScheduleList>(v1("schedules"), { signal }), SLOW_MS);
  const investigations = usePolled(
    "investigations",
    (signal) => get<DeadLetterList>(v1("dlq"), { query: { resolution_status: "pending", limit: 100 }, signal }),
    SLOW_MS,
  );
  const found = problems(stats, schedules.data?.schedules ?? [], investigations.data ?? { entries: [] });
  if (found.length === 0) {
    return (
      <div class="notice good calm" role="status">
        <Sign state="completed" />
        <p>Nothing needs your attention.</p>
      </div>
    );
  }
  return (
    <Card title="Needs attention" class="attention" note={plural(found.length, "problem")}>
      <ul class="problems">
        {found.map(({ tone, key, text, href, action }) => (
          <li key={key} class={tone}>
            <Sign state={tone === "bad" ? "blocked_by_failures" : "waiting_for_retry"} />
            <p>{text}</p>
            <a class="button" href={href} data-row>
              {action}
            </a>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Counts({ stats }: { stats: Stats }) {
  return (
    <ul class="tiles" aria-label="Tasks by state">
      {STATES.map((status) => (
        <li key={status}>
          <a class={`tile ${total(stats, status) > 0 ? look(status).tone : "zero"}`} href={link(["tasks"], { status })}>
            <span class="label">
              <Sign state={status} />
              {stateName(status)}
            </span>
            <span class="value">{shownTotal(stats, status)}</span>
          </a>
        </li>
      ))}
    </ul>
  );
}

/** The newest blocked tasks, loaded again when their number changes. */
function Blocked({ stats }: { stats: Stats }) {
  const blocked = total(stats, "blocked_by_failures");
  const list = useResource(`blocked ${blocked}`, (signal) =>
    get<TaskList>("/v1/tasks", { query: { status: "blocked_by_failures", limit: 6 }, signal }),
  );
  return (
    <Card title="Blocked tasks" note={<a href={link(["tasks"], { status: "blocked_by_failures" })}>All</a>}>
      <Loaded from={list}>
        {({ tasks }) =>
          tasks.length === 0 ? (
            <Empty title="No task is blocked.">
              A task is blocked when steps have failed and no other step can run.
            </Empty>
          ) : (
            <ul class="lines">
              {tasks.map((task) => (
                <li key={task.task_uuid}>
                  <a href={taskLink(task.task_uuid)} data-row>
                    <Text>{`${task.namespace}/${task.name}`}</Text>
                  </a>
                  <span class="faint">{plural(task.failed_steps, "failed step")}</span>
                  <Time at={task.created_at} as="ago" />
                </li>
              ))}
            </ul>
          )
        }
      </Loaded>
    </Card>
  );
}

const KEPT = 90;

function Throughput({ stats }: { stats: Stats }) {
  const { running, draining, running_steps, max_concurrent, completed_per_second, failed_per_second } = stats.workers;
  const rates = useHistory(stats.at, completed_per_second);
  return (
    <Card title="Workers" note={<a href={link(["workers"])}>All</a>}>
      {running + draining === 0 ? (
        <Empty title="No worker is running.">Steps wait in their queues until a worker serves them.</Empty>
      ) : (
        <dl class="facts">
          <div>
            <dt>Running</dt>
            <dd>
              {plural(running, "worker")}
              {draining > 0 && `, ${count(draining)} draining`}
            </dd>
          </div>
          <div>
            <dt>Slots in use</dt>
            <dd>
              {count(running_steps)} of {count(max_concurrent)}
              <Meter done={running_steps} total={max_concurrent} label="Slots in use" />
            </dd>
          </div>
          <div>
            <dt>Completed steps</dt>
            <dd>{rate(completed_per_second)} per second</dd>
          </div>
          <div>
            <dt>Failed attempts</dt>
            <dd class={failed_per_second > 0 ? "bad-text" : ""}>{rate(failed_per_second)} per second</dd>
          </div>
        </dl>
      )}
      <Sparkline values={rates} />
    </Card>
  );
}

/** The values since the page was opened. */
function useHistory(at: string, value: number): number[] {
  const [history] = useState<{ at: string; values: number[] }>({ at: "", values: [] });
  if (history.at !== at) {
    history.at = at;
    history.values = [...history.values, value].slice(-KEPT);
  }
  return history.values;
}

function Sparkline({ values }: { values: number[] }) {
  if (values.length < 2) return null;
  const top = Math.max(...values, 1);
  const points = values.map((value, index) => `${(index * 300) / (KEPT - 1)},${38 - (36 * value) / top}`);
  return (
    <figure class="spark">
      <svg viewBox="0 0 300 40" preserveAspectRatio="none" aria-hidden="true">
        <polyline points={points.join(" ")} />
      </svg>
      <figcaption class="faint">
        Completed steps per second since you opened this page; at most {rate(Math.max(...values))}
      </figcaption>
    </figure>
  );
}

function Namespaces({ stats }: { stats: Stats }) {
  const counts = new Map(stats.tasks.map((entry) => [`${entry.namespace} ${entry.status}`, entry.count]));
  const names = [...new Set([...stats.queues, ...stats.tasks].map((entry) => entry.namespace))].sort();
  const queues = new Map(stats.queues.map((queue) => [queue.namespace, queue]));
  if (names.length === 0) {
    return (
      <Card title="Namespaces">
        <Empty title="There is no namespace yet.">
          Apply a template: <code>tasker-cli template apply FILE</code>
        </Empty>
      </Card>
    );
  }
  return (
    <Card title="Namespaces">
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Namespace</th>
              {STATES.map((status) => (
                <th key={status} scope="col" class="number">
                  {stateName(status)}
                </th>
              ))}
              <th scope="col" class="number">
                Ready steps
              </th>
              <th scope="col" class="number">
                Oldest waits
              </th>
            </tr>
          </thead>
          <tbody>
            {names.map((namespace) => {
              const queue = queues.get(namespace);
              return (
                <tr key={namespace}>
                  <th scope="row">
                    <a href={link(["tasks"], { namespace })} data-row>
                      <Text>{namespace}</Text>
                    </a>
                  </th>
                  {STATES.map((status) => {
                    const value = counts.get(`${namespace} ${status}`) ?? 0;
                    return (
                      <td key={status} class="number">
                        {value === 0 ? (
                          <span class="faint">0</span>
                        ) : (
                          <a href={link(["tasks"], { namespace, status })}>{countUpTo(value, stats.count_limit)}</a>
                        )}
                      </td>
                    );
                  })}
                  <td class="number">
                    {queue?.ready ? countUpTo(queue.ready, stats.count_limit) : <span class="faint">0</span>}
                  </td>
                  <td class="number">
                    {typeof queue?.oldest_ready_seconds === "number" ? (
                      duration(queue.oldest_ready_seconds * 1000)
                    ) : (
                      <span class="faint">–</span>
                    )}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </Card>
  );
}
