// Schedules: when they create tasks, what the last time did, and their actions.

import { useState } from "preact/hooks";
import type { PutSchedule, Schedule, ScheduleList, TaskSummary } from "../api-types";
import { stateName } from "../format";
import { type ApiError, asApiError, get, request, v1 } from "../http";
import { Empty, Failure, Loaded, PageHead, Text, Time, useTitle } from "../parts/basic";
import { usePolled } from "../resource";
import { link } from "../route";
import { may } from "../session";

/** How often the list is loaded again, in milliseconds. Schedules change when their times come. */
const INTERVAL = 10_000;

export function Schedules() {
  useTitle("Schedules");
  const schedules = usePolled("schedules", (signal) => get<ScheduleList>(v1("schedules"), { signal }), INTERVAL);
  return (
    <>
      <PageHead title="Schedules" />
      <p class="lead">A schedule creates a task of a template at the times of a cron expression.</p>
      <Loaded from={schedules}>
        {({ schedules: list }) =>
          list.length === 0 ? (
            <Empty title="There is no schedule.">
              Create one with <code>tasker-cli schedule set</code>.
            </Empty>
          ) : (
            <div class="scroll">
              <table>
                <thead>
                  <tr>
                    <th scope="col">Schedule</th>
                    <th scope="col">Template</th>
                    <th scope="col">Times</th>
                    <th scope="col">Next</th>
                    <th scope="col">Last</th>
                    <th scope="col">
                      <span class="hidden">Actions</span>
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {list.map((schedule) => (
                    <Row key={schedule.name} schedule={schedule} changed={schedules.reload} />
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

function Row({ schedule, changed }: { schedule: Schedule; changed: () => void }) {
  const [error, setError] = useState<ApiError>();
  const { name, namespace, template, cron, timezone, overlap, paused } = schedule;
  const act = (action: Promise<unknown>): void => {
    setError(undefined);
    action.then(changed, (failure: unknown) => {
      setError(asApiError(failure));
    });
  };
  return (
    <tr>
      <th scope="row">
        <Text>{name}</Text>
        {error && <Failure error={error} />}
      </th>
      <td>
        <a href={link(["templates", namespace, template])} data-row>
          <Text>{template}</Text>
        </a>
        <div class="faint">
          <Text>{namespace}</Text>
        </div>
      </td>
      <td>
        <code>{cron}</code>
        <div class="faint">
          {timezone}, overlap: {stateName(overlap)}
        </div>
      </td>
      <td>{paused ? "Paused" : <Time at={schedule.next_at} />}</td>
      <td>
        <Last schedule={schedule} />
      </td>
      <td>
        {may("operate") && (
          <>
            <button
              type="button"
              onClick={() => {
                act(request<TaskSummary>("POST", v1("schedules", name, "trigger")));
              }}
            >
              Run now
            </button>{" "}
            <button
              type="button"
              onClick={() => {
                act(request("PUT", v1("schedules", name), { body: { ...settings(schedule), paused: !paused } }));
              }}
            >
              {paused ? "Resume" : "Pause"}
            </button>
          </>
        )}
      </td>
    </tr>
  );
}

function Last({
  schedule: { last_slot: slot, last_outcome: outcome, last_error: error, last_task_uuid: task },
}: {
  schedule: Schedule;
}) {
  if (!outcome) return <span class="faint">–</span>;
  return (
    <>
      {task ? <a href={link(["tasks", task])}>{stateName(outcome)}</a> : stateName(outcome)}
      {slot && (
        <div class="faint">
          <Time at={slot} />
        </div>
      )}
      {error && (
        <div class="bad-text">
          <Text>{error}</Text>
        </div>
      )}
    </>
  );
}

/** The settings of a schedule, as the server takes them. */
function settings(schedule: Schedule): PutSchedule {
  const { namespace, template, version, cron, timezone, overlap, catch_up_seconds, context, priority, tags } = schedule;
  return {
    namespace,
    template,
    cron,
    timezone,
    overlap,
    catch_up_seconds,
    context,
    priority,
    ...(tags ? { tags } : {}),
    ...(version ? { version } : {}),
  };
}
