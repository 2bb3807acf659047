// Jobs that act on all tasks of a filter.

import { useState } from "preact/hooks";
import { between, count, stateName } from "../format";
import { ApiError, asApiError, get, request, v1 } from "../http";
import { Empty, Failure, Loaded, PageHead, Text, Time, useTitle } from "../parts/basic";
import { State } from "../parts/state";
import type { BulkJob, BulkJobList } from "../api-types";
import { useLive, useResource } from "../resource";
import { link, route } from "../route";
import { may } from "../session";

export function Bulk() {
  useTitle("Bulk jobs");
  const jobs = useResource("bulk", (signal) => get<BulkJobList>(v1("bulk"), { signal }));
  const running = jobs.data?.jobs.filter((job) => job.status === "running") ?? [];
  useLive(
    running.map((job) => `bulk:${job.id}`),
    ({ name, data }) => {
      if (name !== "bulk") return;
      const job = data as BulkJob;
      jobs.update(({ jobs: list }) => ({ jobs: list.map((each) => (each.id === job.id ? job : each)) }));
    },
  );
  return (
    <>
      <PageHead title="Bulk jobs" />
      <p class="lead">
        A bulk job retries, cancels or fails all tasks that match a filter. Start one in the list of tasks.
      </p>
      <Loaded from={jobs}>
        {({ jobs: list }) =>
          list.length === 0 ? (
            <Empty title="There is no job.">
              Filter the <a href={link(["tasks"])}>tasks</a>, select all that match, and choose an action.
            </Empty>
          ) : (
            <div class="scroll">
              <table>
                <thead>
                  <tr>
                    <th scope="col">Job</th>
                    <th scope="col">State</th>
                    <th scope="col">Filter</th>
                    <th scope="col">Reason</th>
                    <th scope="col" class="number">
                      Done
                    </th>
                    <th scope="col" class="number">
                      Skipped
                    </th>
                    <th scope="col">Started</th>
                    <th scope="col" class="number">
                      Took
                    </th>
                    <th scope="col">
                      <span class="hidden">Actions</span>
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {list.map((job) => (
                    <Row key={job.id} job={job} changed={jobs.reload} />
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

function Row({ job, changed }: { job: BulkJob; changed: () => void }) {
  const [error, setError] = useState<ApiError>();
  const stop = (): void => {
    request("POST", v1("bulk", job.id, "stop")).then(changed, (failure: unknown) => {
      setError(asApiError(failure));
    });
  };
  const marked = route.value.query.get("job") === job.id;
  return (
    <tr class={marked ? "chosen" : ""}>
      <th scope="row">
        <a href={link(["tasks"], job.filter)} data-row>
          {stateName(job.action)}
        </a>
        <div class="faint">
          <Text>{job.actor ?? ""}</Text>
        </div>
      </th>
      <td>
        <State state={job.status} />
        {job.error && (
          <div class="bad-text">
            <Text>{job.error}</Text>
          </div>
        )}
        {error && <Failure error={error} />}
      </td>
      <td>
        {Object.entries(job.filter)
          .filter(([, value]) => value)
          .map(([name, value]) => (
            <div key={name}>
              <span class="faint">{name}</span> <Text>{value ?? ""}</Text>
            </div>
          ))}
      </td>
      <td>
        <Text>{job.reason ?? ""}</Text>
      </td>
      <td class="number">{count(job.done)}</td>
      <td class="number">{count(job.skipped)}</td>
      <td>
        <Time at={job.created_at} />
      </td>
      <td class="number">{between(job.created_at, job.finished_at)}</td>
      <td>
        {job.status === "running" && may("operate") && (
          <button type="button" onClick={stop}>
            Stop
          </button>
        )}
      </td>
    </tr>
  );
}
