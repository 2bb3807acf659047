// The graph of a template or a task, as SVG. The server lays it out. Each node is a link.

import { useEffect, useMemo, useState } from "preact/hooks";
import { count, cut, stateName } from "../format";
import type { LayoutEdge, LayoutNode, TemplateLayout } from "../api-types";
import { useWidth } from "./basic";
import { hasResult, look } from "./state";

const NODE = { width: 188, height: 42 };
const GAP = { x: 52, y: 14 };
const MARGIN = 14;
/** As many characters of the fixed-width font fit into a node. */
const FITS = 21;
const SECOND_FITS = 26;

/** The smallest scale at which the text is still easy to read. */
const SMALLEST = 0.72;
/** The height of the whole graph, if the user wants to see all of it. */
const HEIGHT = 520;

const x = (column: number): number => MARGIN + column * (NODE.width + GAP.x);
const y = (row: number): number => MARGIN + row * (NODE.height + GAP.y);

/** From the most to the least urgent: a node of several steps shows the most urgent state. */
const URGENCY = [
  "failed",
  "waiting_for_retry",
  "in_progress",
  "enqueued",
  "waiting",
  "pending",
  "cancelled",
  "skipped",
  "resolved_manually",
  "completed",
];

type Props = {
  layout: TemplateLayout;
  label: string;
  /** The state of a step. Without it, the graph shows a template. */
  stateOf?: ((step: string) => string | undefined) | undefined;
  /** The address of a node. */
  href: (node: LayoutNode) => string;
  /** The step that is shown beside the graph. */
  selected?: string | undefined;
};

export function Graph({ layout, label, stateOf, href, selected }: Props) {
  const { ref: box, width: room } = useWidth();
  const width = x(layout.columns) - GAP.x + MARGIN;
  const height = y(layout.rows) - GAP.y + MARGIN;
  const [whole, setWhole] = useState(false);
  // A graph that is slightly too wide becomes smaller. A larger one scrolls, unless the user wants to see all of it.
  const fit = room === 0 ? 1 : Math.min(1, room / width);
  const scale = whole ? Math.min(fit, HEIGHT / height) : fit >= SMALLEST ? fit : 1;
  const large = fit < SMALLEST || height > HEIGHT;
  // Not drawn again when only the size changes: the first size is known after the first drawing.
  const drawing = useMemo(
    () => <Drawing layout={layout} stateOf={stateOf} href={href} selected={selected} />,
    [layout, stateOf, href, selected],
  );
  useEffect(() => {
    box.current?.querySelector("a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [selected]);
  return (
    <div class="graph-frame">
      <div class="graph" ref={box} tabIndex={0} role="region" aria-label={label}>
        <svg width={width * scale} height={height * scale} viewBox={`0 0 ${width} ${height}`}>
          {drawing}
        </svg>
      </div>
      {large && (
        <button
          type="button"
          onClick={() => {
            setWhole(!whole);
          }}
        >
          {whole ? "Actual size" : "Whole graph"}
        </button>
      )}
    </div>
  );
}

function Drawing({ layout, stateOf, href, selected }: Omit<Props, "label">) {
  const nodes = new Map(layout.nodes.map((node) => [node.id, node]));
  return (
    <>
      <g class="edges" aria-hidden="true">
        {layout.edges.map((edge) => (
          <Edge
            key={`${edge.from} ${edge.to}`}
            edge={edge}
            nodes={nodes}
            done={isDone(nodes.get(edge.from), stateOf)}
          />
        ))}
      </g>
      {layout.nodes.map((node) => (
        <Node
          key={node.id}
          node={node}
          stateOf={stateOf}
          href={href(node)}
          selected={selected !== undefined && node.steps.includes(selected)}
        />
      ))}
    </>
  );
}

const isDone = (node: LayoutNode | undefined, stateOf: Props["stateOf"]): boolean =>
  Boolean(stateOf && node?.steps.every((step) => hasResult(stateOf(step) ?? "")));

function Edge({ edge, nodes, done }: { edge: LayoutEdge; nodes: Map<number, LayoutNode>; done: boolean }) {
  const [from, to] = [nodes.get(edge.from), nodes.get(edge.to)];
  if (!from || !to) return null;
  const middle = NODE.height / 2;
  let [px, py] = [x(from.column) + NODE.width, y(from.row) + middle];
  let path = `M${px} ${py}`;
  const curveTo = (nx: number, ny: number): void => {
    const bend = (px + nx) / 2;
    path += `C${bend} ${py} ${bend} ${ny} ${nx} ${ny}`;
    [px, py] = [nx, ny];
  };
  for (const bend of edge.bends) {
    const by = y(bend.row) + middle;
    curveTo(x(bend.column), by);
    px += NODE.width;
    path += `H${px}`;
  }
  curveTo(x(to.column) - 5, y(to.row) + middle);
  // The arrow's head.
  path += `m-4 -4l5 4l-5 4`;
  return <path class={done ? "done" : ""} d={path} />;
}

type NodeProps = { node: LayoutNode; stateOf: Props["stateOf"]; href: string; selected: boolean };

function Node({ node, stateOf, href, selected }: NodeProps) {
  const [first = ""] = node.steps;
  const several = node.steps.length > 1;
  const states = stateOf ? node.steps.map((step) => stateOf(step) ?? "pending") : [];
  const state = URGENCY.find((each) => states.includes(each));
  const completed = states.filter(hasResult).length;
  const runs = node.task ? `task ${node.task}` : node.callable;
  const second = !state
    ? runs
    : several
      ? `${count(completed)} of ${count(node.steps.length)} completed`
      : stateName(state);
  const name = several ? `${first} …` : first;
  const title = [several ? `${node.steps.length} steps like ${first}` : first, state && stateName(state), runs]
    .filter(Boolean)
    .join(" · ");
  // The types of Preact know only HTML's links, which have no such attribute.
  const place = { transform: `translate(${x(node.column)} ${y(node.row)})` };
  const size = several ? `×${count(node.steps.length)}` : "";
  const room = FITS - (state ? 1 : 0) - size.length;
  // A title for each of 1,000 nodes would cost time.
  const isCut = several || name.length > room || second.length > SECOND_FITS;
  return (
    <a
      {...place}
      href={href}
      class={`node ${state ? look(state).tone : "plain"} ${several ? "several" : ""}`}
      aria-current={selected ? "true" : undefined}
    >
      {isCut && <title>{title}</title>}
      {several && <rect class="behind" x="4" y="4" width={NODE.width} height={NODE.height} rx="6" />}
      <rect class="box" width={NODE.width} height={NODE.height} rx="6" />
      {state && <path class="sign" transform="translate(11 14) scale(1.17)" d={look(state).sign} />}
      <text class="name" x={state ? 34 : 12} y="18">
        {cut(name, room)}
      </text>
      <text class="second" x={state ? 34 : 12} y="33">
        {cut(second, SECOND_FITS)}
      </text>
      {size && (
        <text class="size" x={NODE.width - 10} y="18">
          {size}
        </text>
      )}
    </a>
  );
}
