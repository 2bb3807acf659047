// Small parts that every page uses.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { exactTime, fullTime, plural, relative, shortTime } from "../format";
import type { ApiError } from "../http";
import type { Resource } from "../resource";
import { linkHere } from "../route";

type Children = { children?: ComponentChildren };

/** A text that others wrote. Its direction cannot change the text around it. */
export const Text = ({ children }: { children: string }) => <bdi>{children}</bdi>;

/** A moment: short, with the full time as its title. */
export function Time({ at, as = "short" }: { at: string | null | undefined; as?: "short" | "ago" | "exact" }) {
  if (!at) return <span class="faint">–</span>;
  return (
    <time dateTime={at} title={fullTime(at)}>
      {as === "ago" ? relative(at) : as === "exact" ? exactTime(at) : shortTime(at)}
    </time>
  );
}

type HeadProps = Children & { title: ComponentChildren; above?: ComponentChildren; beside?: ComponentChildren };

/** The title of a page, with actions to its right. It gets the focus when the page opens. */
export function PageHead({ title, children, above, beside }: HeadProps) {
  return (
    <header class="page-head">
      <div class="page-title">
        {above && <p class="above">{above}</p>}
        <div class="row">
          <h1 tabIndex={-1}>{title}</h1>
          {beside}
        </div>
      </div>
      {children && <div class="actions">{children}</div>}
    </header>
  );
}

export function Card({
  title,
  note,
  children,
  class: more = "",
}: Children & { title?: ComponentChildren; note?: ComponentChildren; class?: string }) {
  return (
    <section class={`card ${more}`}>
      {title && (
        <header>
          <h2>{title}</h2>
          {note && <span class="faint">{note}</span>}
        </header>
      )}
      {children}
    </section>
  );
}

export function Failure({ error, retry }: { error: ApiError; retry?: () => void }) {
  return (
    <div class="notice bad" role="alert">
      <p>{error.message}</p>
      {error.fields.length > 0 && (
        <ul>
          {error.fields.map(({ pointer, message }) => (
            <li key={pointer + message}>
              <code>{pointer || "/"}</code> <Text>{message}</Text>
            </li>
          ))}
        </ul>
      )}
      {retry && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

/** What an attempt reported: the kind and the message of its error. */
export function ErrorLine({ error }: { error: unknown }) {
  if (typeof error !== "object" || error === null) return null;
  const { kind, message } = error as { kind?: string; message?: string };
  return (
    <p class="error-line">
      {kind && (
        <>
          <code>
            <Text>{kind}</Text>
          </code>{" "}
        </>
      )}
      <Text>{message ?? ""}</Text>
    </p>
  );
}

/** Nothing is here, and what to do about it. */
export const Empty = ({ title, children }: Children & { title: string }) => (
  <div class="empty">
    <p class="strong">{title}</p>
    {children && <p>{children}</p>}
  </div>
);

/** Shows a resource: a skeleton, an error, or its data. An error of a reload stands above the data that remain. */
export function Loaded<T>({ from, children }: { from: Resource<T>; children: (data: T) => ComponentChildren }) {
  const { data, error, reload } = from;
  return (
    <>
      {error && <Failure error={error} retry={reload} />}
      {data !== undefined ? children(data) : !error && <Loading />}
    </>
  );
}

function Loading() {
  return (
    <div class="loading" role="status" aria-label="Loading">
      <span />
      <span />
      <span />
    </div>
  );
}

/** The first entries of a long list, and a button for the rest. */
export function useSome<T>(list: T[], noun: string): { some: T[]; more: ComponentChildren } {
  const [all, setAll] = useState(false);
  if (all || list.length <= SOME) return { some: list, more: null };
  const more = (
    <button
      type="button"
      onClick={() => {
        setAll(true);
      }}
    >
      Show all {plural(list.length, noun)}
    </button>
  );
  return { some: list.slice(0, SOME), more };
}

const SOME = 200;

type PagesProps = { first: boolean; next: string | null | undefined; older?: string };

/** Links to the other pages of a list whose address holds the cursor. */
export const Pages = ({ first, next, older = "Older" }: PagesProps) => (
  <nav class="pages" aria-label="Pages of the list">
    {!first && (
      <a class="button" href={linkHere({ cursor: undefined })}>
        Newest
      </a>
    )}
    {next && (
      <a class="button" href={linkHere({ cursor: next })}>
        {older}
      </a>
    )}
  </nav>
);

/** How much of something is done. */
export function Meter({
  done,
  failed = 0,
  total,
  label,
}: {
  done: number;
  failed?: number;
  total: number;
  label: string;
}) {
  const part = (value: number): number => (total === 0 ? 0 : Math.round((100 * value) / total));
  return (
    <svg class="meter" viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label={label}>
      <rect class="rail" width="100" height="4" />
      <rect class="good" width={part(done)} height="4" />
      <rect class="bad" x={part(done)} width={part(failed)} height="4" />
    </svg>
  );
}

/** Copies a text to the clipboard. */
export function Copy({ text, label = "Copy" }: { text: string | (() => string); label?: string }) {
  const [state, setState] = useState("");
  useEffect(() => {
    const timer = setTimeout(() => {
      setState("");
    }, 2000);
    return () => {
      clearTimeout(timer);
    };
  }, [state]);
  const copy = (): void => {
    navigator.clipboard.writeText(typeof text === "string" ? text : text()).then(
      () => {
        setState("Copied");
      },
      () => {
        setState("Not allowed by the browser");
      },
    );
  };
  return (
    <button type="button" class="quiet" onClick={copy}>
      <span aria-live="polite">{state || label}</span>
    </button>
  );
}

/** The width of an element in pixels. */
export function useWidth() {
  const ref = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    if (!ref.current) return;
    const observer = new ResizeObserver(([entry]) => {
      if (entry) setWidth(Math.floor(entry.contentRect.width));
    });
    observer.observe(ref.current);
    return () => {
      observer.disconnect();
    };
  }, []);
  return { ref, width };
}

/** Sets the title of the browser's tab. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · Tasker`;
  }, [title]);
}
