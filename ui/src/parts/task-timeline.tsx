// The timeline of a task, with its attempts from the server.

import { get, v1 } from "../http";
import type { AttemptList, TaskDetail } from "../planned";
import { useResource } from "../resource";
import { Card, Empty, Loaded } from "./basic";
import { Timeline } from "./timeline";

const ATTEMPTS = 2000;

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
  const list = useResource<AttemptList>(
    task.task_uuid,
    (signal) => get(v1("tasks", task.task_uuid, "attempts"), { query: { limit: ATTEMPTS }, signal }),
    round,
  );
  if (!list.data) return <Loaded from={list}>{() => null}</Loaded>;
  if (list.data.attempts.length === 0) return <Empty title="No step has started yet." />;
  return (
    <Card class="flush">
      {list.data.next_cursor && (
        <p class="notice warn">
          The timeline shows the first {ATTEMPTS} attempts. The panel of a step shows all of its own.
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
