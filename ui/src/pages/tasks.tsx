// The list of tasks. The address holds the filter, so a link or a bookmark shows the same.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { NamespaceList, TaskList, TaskSummary } from "../api-types";
import { between, count, plural } from "../format";
import { get, type Query } from "../http";
import { type Choice, BulkBar } from "../parts/bulk-bar";
import { Empty, Loaded, Meter, PageHead, Pages, Text, Time, useTitle } from "../parts/basic";
import { Filters } from "../parts/filters";
import { State } from "../parts/state";
import { listedTags, namedValues, Tag } from "../parts/tags";
import { useLive, useResource, useThrottle } from "../resource";
import { link, linkHere, route, taskLink } from "../route";
import { may } from "../session";

const PAGE = 50;
/** How many partial pages are joined before the user is asked. */
const MAX_SCANS = 5;
/** How often the list looks for tasks that are not shown, in milliseconds. */
const LOOK_MS = 1000;
/** The named values that get columns unless the user chooses. */
const AUTOMATIC_COLUMNS = 3;

export const FILTERS = [
  "namespace",
  "status",
  "template",
  "version",
  "tag",
  "created_after",
  "created_before",
  "q",
] as const;
export type Filter = Partial<Record<(typeof FILTERS)[number], string>>;

function filterOf(query: URLSearchParams): Filter {
  return Object.fromEntries(FILTERS.flatMap((name) => (query.get(name) ? [[name, query.get(name)]] : [])));
}

/** One page of tasks. The server returns partial pages if it must look at many tasks to find a few. */
async function load(query: Query, signal: AbortSignal): Promise<TaskList> {
  let tasks: TaskSummary[] = [];
  let { cursor } = query;
  for (let scan = 1; ; scan++) {
    const page: TaskList = await get<TaskList>("/v1/tasks", {
      query: { ...query, cursor, limit: PAGE - tasks.length },
      signal,
    });
    tasks = [...tasks, ...page.tasks];
    cursor = page.next_cursor;
    if (!cursor || tasks.length >= PAGE || scan >= MAX_SCANS) return { tasks, next_cursor: cursor ?? null };
  }
}

export function Tasks() {
  useTitle("Tasks");
  const { query } = route.value;
  const filter = filterOf(query);
  const cursor = query.get("cursor") ?? undefined;
  const key = JSON.stringify([filter, cursor]);
  const page = useResource<TaskList>(key, (signal) => load({ ...filter, cursor }, signal));
  const namespaces = useResource("namespaces", (signal) => get<NamespaceList>("/v1/namespaces", { signal }));
  const fresh = useFresh(key, filter, cursor, page.data);
  return (
    <>
      <PageHead title="Tasks" />
      <Filters filter={filter} namespaces={namespaces.data?.namespaces.map(({ namespace }) => namespace) ?? []} />
      <Loaded from={page}>
        {(data) => (
          <List
            key={key}
            page={data}
            filter={filter}
            first={cursor === undefined}
            fresh={fresh}
            reload={page.reload}
            update={(task) => {
              page.update((old) => ({
                ...old,
                tasks: old.tasks.map((each) => (each.task_uuid === task.task_uuid ? { ...each, ...task } : each)),
              }));
            }}
          />
        )}
      </Loaded>
    </>
  );
}

/** How many tasks match the filter and are not shown. They appear when the user asks, so that no row jumps. */
function useFresh(key: string, filter: Filter, cursor: string | undefined, shown: TaskList | undefined): number {
  const [fresh, setFresh] = useState(0);
  // The rows may be loaded again while a look runs.
  const latest = useRef(shown);
  latest.current = shown;
  const ids = shown?.tasks.map((task) => task.task_uuid).join();
  useEffect(() => {
    setFresh(0);
  }, [key, ids]);
  const look = useThrottle(() => {
    if (!shown) return;
    get<TaskList>("/v1/tasks", { query: { ...filter, limit: PAGE } }).then(
      ({ tasks }) => {
        const rows = latest.current;
        if (!rows) return;
        const last = rows.tasks.at(-1)?.task_uuid ?? "";
        const known = new Set(rows.tasks.map((task) => task.task_uuid));
        // On a full page, older tasks belong to the next one. Ids sort by the time of creation.
        const floor = rows.next_cursor ? last : "";
        setFresh(tasks.filter((task) => !known.has(task.task_uuid) && task.task_uuid > floor).length);
      },
      () => {
        // The list shows its own errors.
      },
    );
  }, LOOK_MS);
  const watches = cursor === undefined && filter.q === undefined;
  useLive(watches ? [filter.namespace ? `new:${filter.namespace}` : "new", "stats"] : [], look);
  return fresh;
}

type ListProps = {
  page: TaskList;
  filter: Filter;
  first: boolean;
  fresh: number;
  reload: () => void;
  update: (task: TaskSummary) => void;
};

function List({ page: { tasks, next_cursor }, filter, first, fresh, reload, update }: ListProps) {
  const [chosen, setChosen] = useState<Choice>({ ids: new Set(), all: false });
  useLive(
    tasks.map((task) => `row:${task.task_uuid}`),
    ({ name, data }) => {
      if (name === "row") update((data as { task: TaskSummary }).task);
    },
  );
  const columns = useColumns(tasks);
  const operates = may("operate");
  const choose = (ids: Iterable<string>): void => {
    setChosen({ ids: new Set(ids), all: false });
  };
  return (
    <>
      <div class="toolbar">
        {operates && tasks.length > 0 ? (
          <BulkBar choice={chosen} setChoice={setChosen} filter={filter} shown={tasks} done={reload} />
        ) : (
          <p class="faint">{plural(tasks.length, "task")}</p>
        )}
        {fresh > 0 && (
          <button type="button" class="fresh" onClick={reload}>
            {fresh >= PAGE ? `${PAGE}+` : count(fresh)} new
          </button>
        )}
        <span class="space" />
        <Columns columns={columns} />
      </div>
      {tasks.length === 0 ? (
        <NoTasks filter={filter} more={Boolean(next_cursor)} />
      ) : (
        <div class="scroll">
          <table class="tasks">
            <thead>
              <tr>
                {operates && (
                  <th scope="col" class="check">
                    <input
                      type="checkbox"
                      aria-label="Select all tasks of this page"
                      checked={chosen.ids.size === tasks.length}
                      onChange={(event) => {
                        choose(event.currentTarget.checked ? tasks.map((task) => task.task_uuid) : []);
                      }}
                    />
                  </th>
                )}
                <th scope="col">Task</th>
                <th scope="col">State</th>
                <th scope="col">Steps</th>
                {columns.shown.map((name) => (
                  <th key={name} scope="col" class="value">
                    <Text>{name}</Text>
                  </th>
                ))}
                {columns.listed && <th scope="col">Tags</th>}
                <th scope="col">Created</th>
                <th scope="col" class="number">
                  Took
                </th>
              </tr>
            </thead>
            <tbody>
              {tasks.map((task) => (
                <Row
                  key={task.task_uuid}
                  task={task}
                  columns={columns}
                  choice={
                    operates
                      ? {
                          chosen: chosen.ids.has(task.task_uuid),
                          toggle: () => {
                            const ids = new Set(chosen.ids);
                            if (!ids.delete(task.task_uuid)) ids.add(task.task_uuid);
                            choose(ids);
                          },
                        }
                      : undefined
                  }
                />
              ))}
            </tbody>
          </table>
        </div>
      )}
      <Pages first={first} next={next_cursor} older={tasks.length < PAGE ? "Search further back" : "Older"} />
    </>
  );
}

type RowProps = { task: TaskSummary; columns: ColumnsOf; choice: { chosen: boolean; toggle: () => void } | undefined };

function Row({ task, columns, choice }: RowProps) {
  const values = namedValues(task);
  const name = `${task.namespace}/${task.name}`;
  return (
    <tr class={choice?.chosen ? "chosen" : ""}>
      {choice && (
        <td class="check">
          <input
            type="checkbox"
            aria-label={`Select ${name} ${task.task_uuid}`}
            checked={choice.chosen}
            onChange={choice.toggle}
          />
        </td>
      )}
      <th scope="row" class="task">
        <a href={taskLink(task.task_uuid)} data-row>
          <Text>{name}</Text>
        </a>
        <span class="faint mono" title={task.task_uuid}>
          {task.task_uuid.slice(-8)}
        </span>
      </th>
      <td>
        <State state={task.status} />
      </td>
      <td class="progress">
        <span>
          {task.completed_steps}/{task.total_steps}
        </span>
        <Meter
          done={task.completed_steps}
          failed={task.failed_steps}
          total={task.total_steps}
          label={`${task.completed_steps} of ${plural(task.total_steps, "step")} completed, ${task.failed_steps} failed`}
        />
      </td>
      {columns.shown.map((column) => (
        <td key={column} class="value">
          {values[column] !== undefined && <Tag tag={`${column}=${values[column]}`} shown={values[column]} />}
        </td>
      ))}
      {columns.listed && (
        <td>
          {listedTags(task).map((tag) => (
            <Tag key={tag} tag={tag} />
          ))}
        </td>
      )}
      <td>
        <Time at={task.created_at} />
      </td>
      <td class="number">
        {task.completed_at || task.status === "in_progress" ? (
          between(task.started_at ?? task.created_at, task.completed_at)
        ) : (
          <span class="faint">–</span>
        )}
      </td>
    </tr>
  );
}

type ColumnsOf = { known: string[]; shown: string[]; listed: boolean };

/** The columns for tags: those of the address, or the most frequent ones. */
function useColumns(tasks: TaskSummary[]): ColumnsOf {
  const chosen = route.value.query.get("columns");
  return useMemo(() => {
    const uses = new Map<string, number>();
    for (const task of tasks)
      for (const name of Object.keys(namedValues(task))) uses.set(name, (uses.get(name) ?? 0) + 1);
    const named = chosen === null ? [] : chosen.split(",").filter(Boolean);
    const frequent = [...uses.keys()].sort((a, b) => (uses.get(b) ?? 0) - (uses.get(a) ?? 0) || (a < b ? -1 : 1));
    const shown = chosen === null ? frequent.slice(0, AUTOMATIC_COLUMNS).sort() : named;
    return {
      known: [...new Set([...uses.keys(), ...named])].sort(),
      shown,
      listed: tasks.some((task) => listedTags(task).length > 0),
    };
  }, [tasks, chosen]);
}

function Columns({ columns: { known, shown } }: { columns: ColumnsOf }) {
  if (known.length === 0) return null;
  const address = (name: string): string => {
    const next = shown.includes(name) ? shown.filter((each) => each !== name) : [...shown, name];
    return linkHere({ columns: next.join(",") || "," });
  };
  return (
    <details class="menu">
      <summary>Columns</summary>
      <ul>
        {known.map((name) => (
          <li key={name}>
            <label>
              <input
                type="checkbox"
                checked={shown.includes(name)}
                onChange={() => {
                  location.hash = address(name);
                }}
              />
              <Text>{name}</Text>
            </label>
          </li>
        ))}
      </ul>
    </details>
  );
}

function NoTasks({ filter, more }: { filter: Filter; more: boolean }) {
  if (more)
    return (
      <Empty title="No task of this part matches.">
        The server has not looked at all tasks yet. Search further back.
      </Empty>
    );
  if (Object.keys(filter).length > 0) {
    return (
      <Empty title="No task matches.">
        <a href={link(["tasks"])}>Show all tasks</a>
      </Empty>
    );
  }
  return (
    <Empty title="There is no task yet.">
      Choose a <a href={link(["templates"])}>template</a> and start one.
    </Empty>
  );
}
