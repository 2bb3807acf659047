// The timeline of a task, with its attempts from the server.

import { get, v1 } from "../http";
import type { Attempt, AttemptList, TaskDetail } from "../api-types";
import { useResource } from "../resource";
import { Card, Empty, Loaded } from "./basic";
import { Timeline } from "./timeline";

const PAGE = 500;
const MOST = 2000;

async function load(id: string, signal: AbortSignal): Promise<AttemptList> {
  const attempts: Attempt[] = [];
  let cursor: string | null | undefined;
  do {
    const query = { limit: PAGE, cursor };
    const page: AttemptList = await get(v1("tasks", id, "attempts"), { query, signal });
    attempts.push(...page.attempts);
    cursor = page.next_cursor;
  } while (cursor && attempts.length < MOST);
  return { attempts, next_cursor: cursor ?? null };
}

/** `round` changes when a step of the task has changed. */
export function TaskTimeline({
  task,
  round,
  selected,
}: {
  task: TaskDetail;
  round: number;
  selected: string | undefined;
}) {
  const list = useResource<AttemptList>(task.task_uuid, (signal) => load(task.task_uuid, signal), round);
  if (!list.data) return <Loaded from={list}>{() => null}</Loaded>;
  if (list.data.attempts.length === 0) return <Empty title="No step has started yet." />;
  return (
    <Card class="flush">
      {list.data.next_cursor && (
        <p class="notice warn">
          The timeline shows the first {MOST} attempts. The panel of a step shows all of its own.
        </p>
      )}
      <Timeline
        attempts={list.data.attempts}
        steps={task.steps.map((step) => step.name)}
        from={task.started_at ?? task.created_at}
        to={task.completed_at ?? (task.status === "blocked_by_failures" ? task.created_at : null)}
        selected={selected}
      />
    </Card>
  );
}
