// Tags and searchable values of tasks.

import type { TaskSummary } from "../api-types";
import { link } from "../route";
import { Text } from "./basic";

/** The named values of a task: its tags, if they are an object, and the values that its template calls searchable. */
export function namedValues(task: TaskSummary): Record<string, string> {
  const tags = task.tags && !Array.isArray(task.tags) ? task.tags : {};
  return { ...tags, ...task.searchable };
}

/** The tags without a name. */
export const listedTags = (task: TaskSummary): string[] => (Array.isArray(task.tags) ? task.tags : []);

/** A tag that leads to all tasks that have it. */
export function Tag({ tag, shown = tag }: { tag: string; shown?: string }) {
  return (
    <a class="tag" href={link(["tasks"], { tag })} title={`Tasks with ${tag}`}>
      <Text>{shown}</Text>
    </a>
  );
}

export function Tags({ task }: { task: TaskSummary }) {
  return (
    <>
      {listedTags(task).map((tag) => (
        <Tag key={tag} tag={tag} />
      ))}
      {Object.entries(namedValues(task)).map(([name, value]) => (
        <Tag key={name} tag={`${name}=${value}`} />
      ))}
    </>
  );
}
