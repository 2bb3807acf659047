// Live changes: one stream of events for each tab, whatever it watches. It is closed while the tab is hidden.

import { signal } from "@preact/signals";
import { address, send } from "./http";
import { parse } from "./json";

export type LiveEvent = { name: string; data: unknown };
type Handler = (event: LiveEvent) => void;

/** Whether changes arrive. */
export const liveState = signal<"idle" | "connecting" | "live" | "lost">("idle");

const handlers = new Map<string, Set<Handler>>();
const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 5_000;
/** The server sends a comment every 15 s. A connection that is silent for longer is dead. */
const SILENCE_MS = 25_000;

let connection: AbortController | undefined;
let scheduled = 0;

/** Calls the handler with each event of a topic until the returned function is called. */
export function subscribe(topic: string, handler: Handler): () => void {
  const known = handlers.get(topic) ?? new Set();
  handlers.set(topic, known.add(handler));
  restart();
  return () => {
    known.delete(handler);
    if (known.size === 0) handlers.delete(topic);
    restart();
  };
}

/** Connects again, once for all changes of the topics in this turn. */
function restart(): void {
  clearTimeout(scheduled);
  scheduled = setTimeout(() => {
    connection?.abort();
    connection = undefined;
    if (handlers.size === 0 || document.hidden) liveState.value = "idle";
    else void connect((connection = new AbortController()));
  });
}

document.addEventListener("visibilitychange", restart);
addEventListener("online", restart);

async function connect(own: AbortController): Promise<void> {
  liveState.value = "connecting";
  for (let delay = FIRST_DELAY_MS; !own.signal.aborted; delay = Math.min(delay * 2, LONGEST_DELAY_MS)) {
    try {
      await read(own, () => (delay = FIRST_DELAY_MS));
    } catch {
      // The loop connects again. A key that is refused ends the session, and with it all topics.
    }
    if (stopped(own)) return;
    liveState.value = "lost";
    // Half of the delay is random, so that a server that comes back is not asked by all tabs at once.
    await new Promise((resolve) => setTimeout(resolve, delay / 2 + (Math.random() * delay) / 2));
  }
}

const stopped = (own: AbortController): boolean => own.signal.aborted;

async function read(own: AbortController, connected: () => void): Promise<void> {
  const attempt = new AbortController();
  const stop = (): void => {
    attempt.abort();
  };
  own.signal.addEventListener("abort", stop);
  let silence = setTimeout(stop, SILENCE_MS);
  try {
    const topics = [...handlers.keys()].sort().join(",");
    const response = await send("GET", address("/v1/events", { topics }), { signal: attempt.signal, limit: false });
    if (!response.body) return;
    liveState.value = "live";
    connected();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let buffer = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(silence);
      silence = setTimeout(stop, SILENCE_MS);
      const blocks = (buffer + value).split("\n\n");
      buffer = blocks.pop() ?? "";
      if (own.signal.aborted) return;
      for (const block of blocks) dispatch(block);
    }
  } finally {
    clearTimeout(silence);
    own.signal.removeEventListener("abort", stop);
    attempt.abort();
  }
}

function dispatch(block: string): void {
  let name = "message";
  let data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data += line.slice(5);
  }
  if (data === "") return;
  const event = { name, data: parse(data) };
  for (const handler of handlers.get(topicOf(event)) ?? []) handler(event);
}

/** The topic that an event belongs to. */
function topicOf({ name, data }: LiveEvent): string {
  const { topic, task, id, namespace } = data as {
    topic?: string;
    task?: { task_uuid: string };
    id?: string;
    namespace?: string | null;
  };
  switch (name) {
    case "gone":
      return topic ?? "";
    case "task":
    case "row":
      return `${name}:${task?.task_uuid ?? ""}`;
    case "bulk":
      return `bulk:${id ?? ""}`;
    case "new":
      return namespace ? `new:${namespace}` : "new";
    default:
      return name;
  }
}
