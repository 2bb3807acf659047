// The search field: a task's id or its first 8 or more digits, an exact idempotency key, tag or value.

import { useState } from "preact/hooks";
import type { TaskList } from "../api-types";
import { get } from "../http";
import { go, link, taskLink } from "../route";

export function Search() {
  const [text, setText] = useState("");
  const search = async (): Promise<void> => {
    const q = text.trim();
    if (q === "") return;
    let target = link(["tasks"], { q });
    // The search knows ids, keys and values. A tag with its name is a filter.
    for (const query of q.includes("=") ? [{ q }, { tag: q }] : [{ q }]) {
      const found = await get<TaskList>("/v1/tasks", { query: { ...query, limit: 2 } }).catch(() => undefined);
      const [only, another] = found?.tasks ?? [];
      if (!only) continue;
      target = another ? link(["tasks"], query) : taskLink(only.task_uuid);
      break;
    }
    go(target);
    setText("");
  };
  return (
    <form
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        void search();
      }}
    >
      <input
        type="search"
        aria-label="Search for a task by id, idempotency key, tag or value"
        placeholder="Search tasks"
        title="A task's id or its first 8 digits, its idempotency key, a tag such as vip or customer=acme, or a value"
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
        }}
      />
      <kbd aria-hidden="true">/</kbd>
    </form>
  );
}
