// The timeline of a task: every attempt of every step, with the time between them.

import { cut, duration, fullTime, now, stateName } from "../format";
import type { Attempt } from "../api-types";
import { linkHere } from "../route";
import { useWidth } from "./basic";
import { look } from "./state";

const ROW = 26;
const AXIS = 26;
const BAR = 14;

type Props = {
  attempts: Attempt[];
  steps: string[];
  from: string;
  to: string | null | undefined;
  selected?: string | undefined;
};

/** What an attempt led to, in the words of the states. */
function outcomeOf({ outcome }: Attempt): { state: string; text: string } {
  switch (outcome) {
    case undefined:
    case null:
      return { state: "in_progress", text: "runs" };
    case "completed":
      return { state: "completed", text: "completed" };
    case "enqueued":
      return { state: "cancelled", text: "returned by a worker that stopped" };
    case "in_progress":
      return { state: "lost", text: "lost with its worker" };
    case "waiting_for_retry":
      return { state: "waiting_for_retry", text: "failed; another attempt followed" };
    default:
      return { state: outcome, text: stateName(outcome).toLowerCase() };
  }
}

export function describe(attempt: Attempt): string {
  const { text } = outcomeOf(attempt);
  const end = attempt.ended_at ? Date.parse(attempt.ended_at) : now.value;
  const error = attempt.message ? `: ${attempt.kind ? `${attempt.kind}, ` : ""}${attempt.message}` : "";
  const took = duration(end - Date.parse(attempt.started_at));
  return `${attempt.step}, attempt ${attempt.attempt}, ${took}, ${text}${error}`;
}

export { outcomeOf };

export function Timeline({ attempts, steps, from, to, selected }: Props) {
  const { ref, width } = useWidth();
  const rows = steps.filter((step) => attempts.some((attempt) => attempt.step === step));
  const byStep = Map.groupBy(attempts, (attempt) => attempt.step);
  const start = Date.parse(from);
  const last = Math.max(...attempts.map((attempt) => Date.parse(attempt.ended_at ?? attempt.started_at)), start);
  const end = to ? Math.max(Date.parse(to), last) : Math.max(now.value, last);
  const names = Math.min(240, Math.max(110, width * 0.24));
  const span = Math.max(end - start, 1);
  const room = Math.max(width - names - 24, 50);
  const at = (time: number): number => names + 8 + (room * (time - start)) / span;
  const height = AXIS + rows.length * ROW + 6;
  const characters = Math.floor((names - 8) / 7.3);
  return (
    <div class="timeline" ref={ref}>
      {width > 0 && (
        <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`}>
          <Axis start={start} span={span} at={at} room={room} height={height} />
          {rows.map((step, index) => (
            <g key={step} transform={`translate(0 ${AXIS + index * ROW})`}>
              <a class={`row-link ${step === selected ? "on" : ""}`} href={linkHere({ step })} data-row>
                <rect class="stripe" width={width} height={ROW} />
                <text class="name" x="6" y={ROW / 2 + 4}>
                  {cut(step, characters)}
                </text>
                {byStep.get(step)?.map((attempt) => (
                  <Bar key={`${attempt.attempt} ${attempt.started_at}`} attempt={attempt} at={at} end={end} />
                ))}
              </a>
            </g>
          ))}
        </svg>
      )}
    </div>
  );
}

function Bar({ attempt, at, end }: { attempt: Attempt; at: (time: number) => number; end: number }) {
  const { state } = outcomeOf(attempt);
  const left = at(Date.parse(attempt.started_at));
  const right = at(attempt.ended_at ? Date.parse(attempt.ended_at) : end);
  const width = Math.max(right - left, 3);
  const top = (ROW - BAR) / 2;
  return (
    <g class={`bar ${look(state).tone}`}>
      <title>{`${describe(attempt)}\n${fullTime(attempt.started_at)}`}</title>
      <rect x={left} y={top} width={width} height={BAR} rx="3" />
      {(width > 18 || state !== "completed") && (
        <path
          class="sign"
          transform={`translate(${width > 18 ? left + 4 : left + width + 4} ${top + 2}) scale(0.83)`}
          d={look(state).sign}
        />
      )}
    </g>
  );
}

const TICKS_MS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 18e5, 36e5, 72e5, 216e5,
  432e5, 864e5,
];

function Axis({
  start,
  span,
  at,
  room,
  height,
}: {
  start: number;
  span: number;
  at: (time: number) => number;
  room: number;
  height: number;
}) {
  const wanted = (span * 90) / room;
  const tick = TICKS_MS.find((size) => size >= wanted) ?? Math.ceil(wanted / 864e5) * 864e5;
  const ticks = Array.from({ length: Math.floor(span / tick) + 1 }, (_, index) => index * tick);
  return (
    <g class="axis">
      {ticks.map((offset) => (
        <g key={offset}>
          <line x1={at(start + offset)} x2={at(start + offset)} y1={AXIS - 6} y2={height} />
          <text x={at(start + offset)} y="13">
            {offset === 0 ? "0" : `+${duration(offset)}`}
          </text>
        </g>
      ))}
    </g>
  );
}
