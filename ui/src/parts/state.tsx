// The states of tasks, steps and workers: a sign, a word and a colour. The colour alone never says anything.

import { stateName } from "../format";

type Look = { tone: Tone; sign: string };
export type Tone = "idle" | "active" | "warn" | "bad" | "good" | "off";

// Signs are paths in a square of 12 units, drawn as lines.
const RING = "M6 1.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 0 1 0-9";
const SIGNS = {
  ring: RING,
  dots: "M2 6h.01M6 6h.01M10 6h.01",
  play: "M4 2.5v7L9.5 6z",
  again: "M10 6a4 4 0 1 1-1.4-3M10 1.2V3.4H7.8",
  check: "M2 6.5l2.7 2.7L10 3.5",
  cross: "M3 3l6 6M9 3l-6 6",
  alert: "M6 1.8v5M6 10h.01",
  bar: `${RING}M3 9L9 3`,
  skip: "M2 3l4 3-4 3zM7 3v6M9.5 3v6",
  pause: "M4 3v6M8 3v6",
  hand: "M2 10l.5-2.5L8.2 1.8l2 2L4.5 9.5z",
  lost: "M4.2 4a1.9 1.9 0 1 1 2.6 1.9c-.6.3-.8.6-.8 1.3M6 10h.01",
};

const LOOKS: Record<string, Look> = {
  pending: { tone: "idle", sign: SIGNS.ring },
  enqueued: { tone: "idle", sign: SIGNS.dots },
  in_progress: { tone: "active", sign: SIGNS.play },
  waiting_for_retry: { tone: "warn", sign: SIGNS.again },
  blocked_by_failures: { tone: "bad", sign: SIGNS.alert },
  failed: { tone: "bad", sign: SIGNS.cross },
  completed: { tone: "good", sign: SIGNS.check },
  resolved_manually: { tone: "good", sign: SIGNS.hand },
  cancelled: { tone: "off", sign: SIGNS.bar },
  skipped: { tone: "off", sign: SIGNS.skip },
  waiting: { tone: "idle", sign: SIGNS.pause },
  running: { tone: "good", sign: SIGNS.play },
  draining: { tone: "warn", sign: SIGNS.again },
  stopped: { tone: "off", sign: SIGNS.bar },
  lost: { tone: "bad", sign: SIGNS.lost },
};

export const look = (state: string): Look => LOOKS[state] ?? { tone: "idle", sign: SIGNS.ring };

/** Whether a task in this state will never change again. */
export const isFinal = (status: string): boolean => ["completed", "failed", "cancelled"].includes(status);

/** Whether a step in this state has a result. */
export const hasResult = (status: string): boolean => ["completed", "resolved_manually"].includes(status);

/** Whether a step in this state runs no more, and nobody can give it a result. */
export const isSettled = (status: string): boolean => hasResult(status) || ["skipped", "cancelled"].includes(status);

/** The sign of a state. */
export function Sign({ state }: { state: string }) {
  return (
    <svg class="sign" viewBox="0 0 12 12" aria-hidden="true">
      <path d={look(state).sign} />
    </svg>
  );
}

/** A state as a sign and a word. */
export function State({ state }: { state: string }) {
  return (
    <span class={`state ${look(state).tone}`}>
      <Sign state={state} />
      {stateName(state)}
    </span>
  );
}
