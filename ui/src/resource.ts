// Data of the server in a component: loaded, reloaded, and kept while a reload runs or fails.

import { useEffect, useRef, useState } from "preact/hooks";
import { type ApiError, asApiError, isPassing } from "./http";
import { type LiveEvent, subscribe } from "./live";

export type Resource<T> = {
  data: T | undefined;
  error: ApiError | undefined;
  loading: boolean;
  /** Loads the data again. */
  reload: () => void;
  /** Changes the data without a request. */
  update: (change: (data: T) => T) => void;
};

/** How long to wait before data that could not be loaded are asked for again, in milliseconds. */
export const AGAIN_MS = 3_000;

type State<T> = { key: string; data?: T | undefined; error?: ApiError | undefined; loading: boolean };

/**
 * Loads data when the component appears, and again when `key` changes. An empty key loads nothing. When only `refresh`
 * changes, the data stay until the new ones are there.
 */
export function useResource<T>(key: string, load: (signal: AbortSignal) => Promise<T>, refresh?: unknown): Resource<T> {
  const [state, setState] = useState<State<T>>({ key, loading: true });
  const [round, setRound] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  // How often the data were changed without a request.
  const changes = useRef(0);
  useEffect(() => {
    if (key === "") return;
    const control = new AbortController();
    const before = changes.current;
    setState((old) => (old.key === key ? { ...old, loading: true } : { key, loading: true }));
    latest.current(control.signal).then(
      (data) => {
        if (control.signal.aborted) return;
        setState({ key, data, loading: false });
        // A change that came meanwhile may be newer than this response.
        if (changes.current !== before) setRound((count) => count + 1);
      },
      (error: unknown) => {
        if (control.signal.aborted) return;
        setState((old) => ({ ...old, error: asApiError(error), loading: false }));
      },
    );
    return () => {
      control.abort();
    };
  }, [key, round, refresh]);
  // After an outage of the server or its database, the page goes on by itself. A refusal would be the same again.
  const passing = state.key === key && !state.loading && state.error !== undefined && isPassing(state.error);
  useEvery(AGAIN_MS, passing, () => {
    setRound((count) => count + 1);
  });
  const current = state.key === key ? state : { key, loading: true };
  return {
    data: current.data,
    error: current.error,
    loading: current.loading,
    reload: () => {
      setRound((count) => count + 1);
    },
    update: (change) => {
      changes.current++;
      setState((old) => (old.data === undefined ? old : { ...old, data: change(old.data) }));
    },
  };
}

/** Data that no event announces: loaded like `useResource`, and again every `ms` while the tab is shown. */
export function usePolled<T>(key: string, load: (signal: AbortSignal) => Promise<T>, ms: number): Resource<T> {
  const resource = useResource(key, load);
  // A reload would abort a slow load, and start it again for ever.
  useEvery(ms, !resource.loading, resource.reload);
  return resource;
}

/** Calls `act` every `ms` while it is wanted and the tab is shown. */
export function useEvery(ms: number, wanted: boolean, act: () => void): void {
  const latest = useRef(act);
  latest.current = act;
  useEffect(() => {
    if (!wanted) return;
    const timer = setInterval(() => {
      if (!document.hidden) latest.current();
    }, ms);
    return () => {
      clearInterval(timer);
    };
  }, [wanted]);
}

/** Calls the handler with each event of the topics while the component is shown. */
export function useLive(topics: string[], handler: (event: LiveEvent) => void): void {
  const latest = useRef(handler);
  latest.current = handler;
  useEffect(() => {
    const ends = topics.map((topic) =>
      subscribe(topic, (event) => {
        latest.current(event);
      }),
    );
    return () => {
      for (const end of ends) end();
    };
  }, [topics.join(" ")]);
}

/** A function that calls `act` soon, but once for all its calls within `ms`. */
export function useThrottle(act: () => void, ms: number): () => void {
  const latest = useRef(act);
  latest.current = act;
  const timer = useRef(0);
  const last = useRef(-Infinity);
  useEffect(
    () => () => {
      clearTimeout(timer.current);
    },
    [],
  );
  return () => {
    if (timer.current) return;
    // Not the clock of the day: somebody may set it back.
    const delay = Math.max(0, last.current + ms - performance.now());
    timer.current = setTimeout(() => {
      timer.current = 0;
      last.current = performance.now();
      latest.current();
    }, delay);
  };
}
