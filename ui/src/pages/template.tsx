// One template: its versions, graph, steps and recent tasks, and a form that starts a task.

import type { TaskList, TemplateDetail, TemplateLayout, TemplateList } from "../api-types";
import { between, duration, plural } from "../format";
import { get, v1 } from "../http";
import { Card, Empty, Failure, Loaded, PageHead, Text, Time, useSome, useTitle } from "../parts/basic";
import { Graph } from "../parts/graph";
import { Json } from "../parts/json";
import { StartForm } from "../parts/start-form";
import { State } from "../parts/state";
import { Tags } from "../parts/tags";
import type { Schema } from "../schema";
import { useLive, useResource, useThrottle } from "../resource";
import { go, link, linkHere, route, taskLink, templateLink } from "../route";
import { may } from "../session";

/** The parts of a template's definition that the page shows. */
type Definition = { input_schema?: Schema | null; steps: StepDefinition[] };
type StepDefinition = {
  name: string;
  description?: string | null;
  /** Absent where a task runs in place of a handler. */
  handler?: { callable: string } | null;
  task?: { template: string } | null;
  dependencies?: string[];
  retry?: {
    retryable?: boolean;
    limit?: number;
    backoff?: string;
    backoff_base_ms?: number;
    max_backoff_ms?: number;
  } | null;
  timeout_seconds?: number | null;
};

const TABS = [
  ["graph", "Graph"],
  ["start", "Start a task"],
  ["source", "Definition"],
] as const;

export function TemplatePage({ namespace, name }: { namespace: string; name: string }) {
  useTitle(name);
  const { query } = route.value;
  const version = query.get("version") ?? undefined;
  const detail = useResource(`template ${namespace} ${name} ${version ?? ""}`, (signal) =>
    get<TemplateDetail>(v1("templates", namespace, name), { query: { version }, signal }),
  );
  const versions = useResource(`versions ${namespace} ${name}`, (signal) =>
    get<TemplateList>("/v1/templates", { query: { namespace, name }, signal }),
  );
  const tabs = TABS.filter(([tab]) => tab !== "start" || may("submit"));
  const tab = tabs.find(([each]) => each === query.get("tab"))?.[0] ?? "graph";
  return (
    <>
      <PageHead above={<a href={link(["templates"])}>Templates</a>} title={<Text>{`${namespace}/${name}`}</Text>}>
        <label class="inline">
          Version
          <select
            value={detail.data?.version ?? version ?? ""}
            onChange={(event) => {
              go(templateLink(namespace, name, event.currentTarget.value));
            }}
          >
            {(versions.data?.templates ?? (detail.data ? [detail.data] : [])).map((each) => (
              <option key={each.version} value={each.version}>
                {each.version}
              </option>
            ))}
          </select>
        </label>
      </PageHead>
      {detail.error && !detail.data && detail.error.status === 404 ? (
        <Empty title="There is no such template.">
          <a href={link(["templates"])}>All templates</a>
        </Empty>
      ) : (
        <Loaded from={detail}>
          {(data) => {
            const definition = data.definition as unknown as Definition;
            return (
              <>
                {data.description && (
                  <p class="lead">
                    <Text>{data.description}</Text>
                  </p>
                )}
                <nav class="tabs" aria-label="Parts of the template">
                  {tabs.map(([each, title]) => (
                    <a
                      key={each}
                      href={linkHere({ tab: each === "graph" ? undefined : each })}
                      aria-current={tab === each ? "page" : undefined}
                    >
                      {title}
                    </a>
                  ))}
                </nav>
                {tab === "graph" && <GraphTab template={data} definition={definition} />}
                {tab === "start" && (
                  <StartForm
                    key={data.version}
                    namespace={namespace}
                    name={name}
                    version={data.version}
                    schema={definition.input_schema ?? undefined}
                  />
                )}
                {tab === "source" && <Json value={data.definition} label="Definition of the template" />}
              </>
            );
          }}
        </Loaded>
      )}
    </>
  );
}

function GraphTab({
  template: { namespace, name, version },
  definition,
}: {
  template: TemplateDetail;
  definition: Definition;
}) {
  const layout = useResource(`layout ${namespace} ${name} ${version}`, (signal) =>
    get<TemplateLayout>(v1("templates", namespace, name, "layout"), { query: { version }, signal }),
  );
  const chosen = route.value.query.get("step");
  const { some, more } = useSome(definition.steps, "step");
  return (
    <>
      <Loaded from={layout}>
        {(data) => (
          <Graph
            layout={data}
            label="Graph of the template"
            href={({ steps: [first = ""] }) => linkHere({ step: first })}
            selected={chosen ?? undefined}
          />
        )}
      </Loaded>
      {/* The table has no link, so the keyboard must reach it to scroll it. */}
      <div class="scroll" tabIndex={0} role="region" aria-label="Steps of the template">
        <table>
          <thead>
            <tr>
              <th scope="col">Step</th>
              <th scope="col">Handler</th>
              <th scope="col">Waits for</th>
              <th scope="col">Retries</th>
              <th scope="col" class="number">
                Time limit
              </th>
            </tr>
          </thead>
          <tbody>
            {some.map((step) => (
              <tr key={step.name} class={chosen === step.name ? "chosen" : ""}>
                <th scope="row">
                  <Text>{step.name}</Text>
                  {step.description && (
                    <div class="faint">
                      <Text>{step.description}</Text>
                    </div>
                  )}
                </th>
                <td>
                  {step.task ? "task " : ""}
                  <code>
                    <Text>{step.task?.template ?? step.handler?.callable ?? ""}</Text>
                  </code>
                </td>
                <td class="faint">
                  <Dependencies names={step.dependencies ?? []} />
                </td>
                <td>{retries(step)}</td>
                <td class="number">{duration((step.timeout_seconds ?? 300) * 1000)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {more}
      <Recent namespace={namespace} name={name} />
    </>
  );
}

const DEPENDENCIES = 6;

function Dependencies({ names }: { names: string[] }) {
  return (
    <>
      {names.slice(0, DEPENDENCIES).map((name, index) => (
        <span key={name}>
          {index > 0 && ", "}
          <Text>{name}</Text>
        </span>
      ))}
      {names.length > DEPENDENCIES && ` and ${names.length - DEPENDENCIES} more`}
    </>
  );
}

/** The policy of a step in a few words. Absent fields have the defaults of the format. */
function retries({ retry }: StepDefinition): string {
  const {
    retryable = true,
    limit = 3,
    backoff = "exponential",
    backoff_base_ms = 1000,
    max_backoff_ms = 30_000,
  } = retry ?? {};
  if (!retryable || limit === 1) return "one attempt";
  const delays =
    backoff === "fixed" ? duration(backoff_base_ms) : `${duration(backoff_base_ms)} to ${duration(max_backoff_ms)}`;
  return `${plural(limit, "attempt")}, ${backoff}, ${delays}`;
}

function Recent({ namespace, name }: { namespace: string; name: string }) {
  const list = useResource(`recent ${namespace} ${name}`, (signal) =>
    get<TaskList>("/v1/tasks", { query: { namespace, template: name, limit: 10 }, signal }),
  );
  useLive([`new:${namespace}`, "stats"], useThrottle(list.reload, 1000));
  return (
    <Card title="Recent tasks" note={<a href={link(["tasks"], { namespace, template: name })}>All</a>}>
      {list.error && <Failure error={list.error} retry={list.reload} />}
      {list.data?.tasks.length === 0 && <p class="faint">None of the newest tasks uses this template.</p>}
      {list.data && list.data.tasks.length > 0 && (
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Task</th>
                <th scope="col">State</th>
                <th scope="col">Version</th>
                <th scope="col">Tags</th>
                <th scope="col">Created</th>
                <th scope="col" class="number">
                  Took
                </th>
              </tr>
            </thead>
            <tbody>
              {list.data.tasks.map((task) => (
                <tr key={task.task_uuid}>
                  <th scope="row">
                    <a class="mono" href={taskLink(task.task_uuid)} data-row>
                      {task.task_uuid.slice(-8)}
                    </a>
                  </th>
                  <td>
                    <State state={task.status} />
                  </td>
                  <td>
                    <code>{task.version}</code>
                  </td>
                  <td>
                    <Tags task={task} />
                  </td>
                  <td>
                    <Time at={task.created_at} />
                  </td>
                  <td class="number">{task.started_at && between(task.started_at, task.completed_at)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}
