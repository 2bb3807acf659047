// The frame of all pages: navigation, search, the state of the connection, and the page of the address.

import type { ComponentType } from "preact";
import { useLayoutEffect, useState } from "preact/hooks";
import { setKey } from "./http";
import { installKeys, KeysDialog } from "./keys";
import { liveState } from "./live";
import { Bulk } from "./pages/bulk";
import { Dashboard } from "./pages/dashboard";
import { DeadLetters } from "./pages/dead-letters";
import { Gates } from "./pages/gates";
import { Login, Unreachable } from "./pages/login";
import { Queues } from "./pages/queues";
import { Schedules } from "./pages/schedules";
import { TaskPage } from "./pages/task";
import { Tasks } from "./pages/tasks";
import { TemplatePage } from "./pages/template";
import { Templates } from "./pages/templates";
import { Workers } from "./pages/workers";
import { Empty, PageHead } from "./parts/basic";
import { Search } from "./parts/search";
import { theme, THEMES, zone, ZONES } from "./preferences";
import { link, type Route, route } from "./route";
import { identify, may, session } from "./session";

const PAGES: [string, string][] = [
  ["", "Dashboard"],
  ["tasks", "Tasks"],
  ["templates", "Templates"],
  ["workers", "Workers"],
  ["queues", "Queues"],
  ["gates", "Gates"],
  ["schedules", "Schedules"],
  ["dlq", "Dead letters"],
  ["bulk", "Bulk jobs"],
];

/** A map, because an object also has names such as `constructor`, and an address can have any name. */
const LISTS = new Map<string, ComponentType>([
  ["", Dashboard],
  ["tasks", Tasks],
  ["templates", Templates],
  ["workers", Workers],
  ["queues", Queues],
  ["gates", Gates],
  ["schedules", Schedules],
  ["dlq", DeadLetters],
  ["bulk", Bulk],
]);

export function App() {
  const current = session.value;
  switch (current.state) {
    case "starting":
      return <div class="loading whole" role="status" aria-label="Loading" />;
    case "unreachable":
      return <Unreachable error={current.error} />;
    case "login":
      return <Login reason={current.reason} />;
    case "open":
      return <Frame />;
  }
}

function Frame() {
  const [help, setHelp] = useState(false);
  // Both before the next key: it must find the keys installed, and a later focus must not take it away from a field.
  useLayoutEffect(
    () =>
      installKeys(() => {
        setHelp(true);
      }),
    [],
  );
  const { path } = route.value;
  // A new page starts at its heading, for the keyboard and for screen readers.
  const place = path.join("/");
  useLayoutEffect(() => {
    document.querySelector<HTMLElement>("main h1")?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [place]);
  return (
    <>
      <a
        class="skip"
        href="#content"
        onClick={(event) => {
          event.preventDefault();
          document.querySelector<HTMLElement>("main h1")?.focus();
        }}
      >
        Skip to the content
      </a>
      <div class="frame">
        <aside>
          <a class="brand" href="#/">
            <img src="icon.svg" alt="" width="22" height="22" />
            Tasker
          </a>
          <Search />
          <nav aria-label="Pages">
            {PAGES.map(([name, title]) => (
              <a
                key={name}
                href={link(name ? [name] : [])}
                aria-current={(path[0] ?? "") === name ? "page" : undefined}
              >
                {title}
              </a>
            ))}
          </nav>
          <Footer
            help={() => {
              setHelp(true);
            }}
          />
        </aside>
        <main id="content">
          {may("read") ? (
            <Page key={place} route={route.value} />
          ) : (
            <>
              <PageHead title="Not allowed" />
              <Empty title="This key lacks the scope read.">
                Without it, the console can show nothing. Log out, and log in with another key.
              </Empty>
            </>
          )}
        </main>
      </div>
      {help && (
        <KeysDialog
          close={() => {
            setHelp(false);
          }}
        />
      )}
    </>
  );
}

function Page({ route: { path } }: { route: Route }) {
  const [page = "", first, second] = path;
  if (page === "tasks" && first) return <TaskPage id={first} />;
  if (page === "templates" && first && second) return <TemplatePage namespace={first} name={second} />;
  const List = path.length <= 1 ? LISTS.get(page) : undefined;
  if (List) return <List />;
  return (
    <>
      <PageHead title="Page not found" />
      <Empty title="The console has no such page.">Choose one on the left.</Empty>
    </>
  );
}

const CONNECTION = {
  idle: ["off", ""],
  connecting: ["warn", "Connecting…"],
  live: ["good", "Live"],
  lost: ["bad", "Connection lost. Trying again…"],
} as const;

function Footer({ help }: { help: () => void }) {
  const current = session.value;
  const me = current.state === "open" ? current.me : undefined;
  const [tone, text] = CONNECTION[liveState.value];
  return (
    <footer>
      <p class={`connection ${tone}`} role="status" hidden={text === ""}>
        {text}
      </p>
      <label>
        Theme
        <select
          value={theme.value}
          onChange={(event) => {
            theme.value = THEMES.find((each) => each === event.currentTarget.value) ?? "auto";
          }}
        >
          <option value="auto">Automatic</option>
          <option value="light">Light</option>
          <option value="dark">Dark</option>
        </select>
      </label>
      <label>
        Times
        <select
          value={zone.value}
          onChange={(event) => {
            zone.value = ZONES.find((each) => each === event.currentTarget.value) ?? "local";
          }}
        >
          <option value="local">Local</option>
          <option value="utc">UTC</option>
        </select>
      </label>
      <button type="button" class="quiet" onClick={help}>
        Keys <kbd>?</kbd>
      </button>
      {me?.keys && (
        <>
          <p class="me" title={`Scopes: ${me.scopes.join(", ")}`}>
            <bdi>{me.name}</bdi>
            <span class="faint">{me.scopes.join(" · ") || "no scope"}</span>
          </p>
          <button
            type="button"
            class="quiet"
            onClick={() => {
              setKey(null);
              void identify();
            }}
          >
            Log out
          </button>
        </>
      )}
    </footer>
  );
}
