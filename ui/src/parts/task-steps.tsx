// The steps of a task: its graph, and a table that says the same.

import { useMemo } from "preact/hooks";
import { between, plural } from "../format";
import { get, v1 } from "../http";
import type { StepDetail, TaskDetail, TemplateLayout } from "../api-types";
import { useResource } from "../resource";
import { linkHere, route } from "../route";
import { Loaded, Text, Time, useSome } from "./basic";
import { Graph } from "./graph";
import { State } from "./state";

export function TaskSteps({ task, selected }: { task: TaskDetail; selected: string | undefined }) {
  const { namespace, name, version } = task;
  const layout = useResource(`layout ${namespace} ${name} ${version}`, (signal) =>
    get<TemplateLayout>(v1("templates", namespace, name, "layout"), { query: { version }, signal }),
  );
  const states = useMemo(() => new Map(task.steps.map((step) => [step.name, step.status])), [task.steps]);
  const node = route.value.query.get("node");
  const group = layout.data?.nodes.find((each) => String(each.id) === node);
  const shown = group ? task.steps.filter((step) => group.steps.includes(step.name)) : task.steps;
  const { some, more } = useSome(shown, "step");
  return (
    <>
      <Loaded from={layout}>
        {(data) => (
          <Graph
            layout={data}
            label="Graph of the task"
            stateOf={(step) => states.get(step)}
            href={({ id, steps: [first = "", ...more] }) =>
              more.length === 0
                ? linkHere({ step: first, node: undefined })
                : linkHere({ node: String(id), step: undefined })
            }
            selected={selected}
          />
        )}
      </Loaded>
      {group && (
        <p class="toolbar">
          <span>{plural(group.steps.length, "step")} of one node</span>
          <a class="button" href={linkHere({ node: undefined })}>
            Show all steps
          </a>
        </p>
      )}
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Step</th>
              <th scope="col">State</th>
              <th scope="col" class="number">
                Attempts
              </th>
              <th scope="col" class="extra">
                Waits for
              </th>
              <th scope="col" class="extra">
                Worker
              </th>
              <th scope="col">Started</th>
              <th scope="col" class="number">
                Took
              </th>
            </tr>
          </thead>
          <tbody>
            {some.map((step) => (
              <StepRow key={step.name} step={step} selected={step.name === selected} />
            ))}
          </tbody>
        </table>
      </div>
      {more}
    </>
  );
}

const DEPENDENCIES = 4;

function StepRow({ step, selected }: { step: StepDetail; selected: boolean }) {
  const { dependencies } = step;
  return (
    <tr class={selected ? "chosen" : ""}>
      <th scope="row">
        <a href={linkHere({ step: step.name })} data-row>
          <Text>{step.name}</Text>
        </a>
      </th>
      <td>
        <State state={step.status} />
      </td>
      <td class="number">
        {step.attempts} of {step.max_attempts}
      </td>
      <td class="faint extra">
        {dependencies.slice(0, DEPENDENCIES).map((name, index) => (
          <span key={name}>
            {index > 0 && ", "}
            <Text>{name}</Text>
          </span>
        ))}
        {dependencies.length > DEPENDENCIES && ` and ${dependencies.length - DEPENDENCIES} more`}
      </td>
      <td class="faint extra">
        <Text>{step.worker_id ?? ""}</Text>
      </td>
      <td>
        <Time at={step.started_at} />
      </td>
      <td class="number">
        {step.started_at && (step.completed_at ?? step.status === "in_progress") ? (
          between(step.started_at, step.completed_at)
        ) : (
          <span class="faint">–</span>
        )}
      </td>
    </tr>
  );
}
