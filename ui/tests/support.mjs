// A real stack and a real browser for the tests. Everything that a test starts is stopped at its end.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import AxeBuilder from "@axe-core/playwright";
import { chromium } from "playwright-core";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BIN = process.env.TASKER_BIN_DIR ?? join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "debug");
/** How long anything may take: far longer than it does unless the test fails. */
export const DEADLINE = 30_000;
/** The same for a stack, which creates a database first. */
const START_DEADLINE = 120_000;

/** Waits until `check` returns something true, and returns that. */
export async function until(what, check, deadline = DEADLINE) {
  const end = Date.now() + deadline;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (Date.now() > end) assert.fail(`not within ${deadline / 1000} s: ${what}`);
    await sleep(20);
  }
}

function start(program, args, environment) {
  const path = join(BIN, program);
  if (!existsSync(path)) assert.fail(`${path} is missing: run \`cargo build --bins\`, or set TASKER_BIN_DIR`);
  const child = spawn(path, args, { env: { ...process.env, ...environment }, stdio: ["ignore", "pipe", "pipe"] });
  child.output = "";
  child.errors = "";
  child.stdout.on("data", (text) => (child.output += text));
  child.stderr.on("data", (text) => (child.errors += text));
  return child;
}

async function stop(child, signal = "SIGTERM") {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill(signal);
  await ended;
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Requests to the API of a server. */
export class Api {
  constructor(url, key) {
    this.url = url;
    this.key = key;
  }

  async request(method, path, body, type = "application/json") {
    const headers = { "content-type": type };
    if (this.key) headers.authorization = `Bearer ${this.key}`;
    const text = typeof body === "string" ? body : JSON.stringify(body);
    const response = await fetch(this.url + path, { method, headers, body: method === "GET" ? undefined : text });
    const answer = await response.json();
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
    return answer;
  }

  get = (path) => this.request("GET", path);
  post = (path, body = {}) => this.request("POST", path, body);

  /** Stores a template of the namespace `faults`. The steps have a quick retry policy unless they name one. */
  async template(name, steps, more = {}) {
    const retry = { limit: 2, backoff: "fixed", backoff_base_ms: 50, max_backoff_ms: 50 };
    const template = {
      name,
      namespace_name: "faults",
      version: "1.0.0",
      steps: steps.map((step) => ({ retry, ...step })),
      ...more,
    };
    return this.request("POST", "/v1/templates", JSON.stringify(template), "application/yaml");
  }

  task = (name, context = {}, more = {}) => this.post("/v1/tasks", { namespace: "faults", name, context, ...more });

  /** Waits until a task is at rest, and returns it. */
  async rest(id) {
    const task = await this.get(`/v1/tasks/${id}?wait=30s`);
    assert.ok(
      ["completed", "failed", "cancelled", "blocked_by_failures"].includes(task.status),
      `${id} is ${task.status}`,
    );
    return task;
  }
}

/** A step of the namespace `faults`. */
export const step = (name, callable, initialization = {}, dependencies = []) => ({
  name,
  handler: { callable: `faults.${callable}`, initialization },
  dependencies,
});

/** PostgreSQL, a worker and a server, with a second server that tests may kill. */
export class Stack {
  static async start() {
    const stack = new Stack();
    stack.folder = await mkdtemp(join(tmpdir(), "tasker-console-"));
    stack.servers = [];
    // Temporary: its data are gone when it ends, wherever they are.
    const args = ["--json", "dev", "--temporary", "--port", "0", "--worker-port", "0"];
    stack.dev = start("tasker-cli", args, { DATABASE_URL: "" });
    const started = () => {
      assert.equal(stack.dev.exitCode, null, stack.dev.errors);
      const json = /\{[^{}]*"orchestration_url"[^{}]*\}/.exec(stack.dev.output);
      return json && JSON.parse(json[0]);
    };
    const addresses = await until("the stack starts", started, START_DEADLINE).catch(async (error) => {
      // The caller has no stack to stop. A process that goes on would keep the tests from ending.
      await stack.stop();
      throw error;
    });
    stack.url = addresses.orchestration_url;
    stack.database = addresses.database_url;
    stack.api = new Api(stack.url);
    return stack;
  }

  /** Starts another server on the same database, with these keys, and returns its address, API and process. */
  async server({ keys = [], port } = {}) {
    port ??= await freePort();
    const settings = join(this.folder, `server-${port}.toml`);
    const lines = keys.map(({ name, key, scopes }) => {
      const file = join(this.folder, `key-${name}`);
      return [
        file,
        key,
        `[[orchestration.access.keys]]\nname = "${name}"\nscopes = ${JSON.stringify(scopes)}\nkey_file = "${file}"\n`,
      ];
    });
    for (const [file, key] of lines) await writeFile(file, key);
    await writeFile(settings, lines.map(([, , line]) => line).join("\n"));
    const child = start("tasker-server", ["--config", settings, "--host", "127.0.0.1", "--port", String(port)], {
      DATABASE_URL: this.database,
    });
    this.servers.push(child);
    const url = `http://127.0.0.1:${port}`;
    await until("the server is healthy", async () => {
      assert.equal(child.exitCode, null, child.errors);
      return fetch(`${url}/health`).then(
        ({ ok }) => ok,
        () => false,
      );
    });
    return { url, port, kill: () => stop(child, "SIGKILL"), api: (key) => new Api(url, key) };
  }

  async stop() {
    await Promise.all(this.servers.map((child) => stop(child, "SIGKILL")));
    await stop(this.dev);
    await rm(this.folder, { recursive: true, force: true });
  }
}

function browserPath() {
  const folders = (process.env.PATH ?? "").split(":");
  const known = ["chromium", "chromium-browser", "google-chrome"].flatMap((name) =>
    folders.map((folder) => join(folder, name)),
  );
  return (
    process.env.CHROMIUM ??
    known.find(existsSync) ??
    assert.fail("there is no Chromium: install it, or set CHROMIUM to its path")
  );
}

export const launch = () => chromium.launch({ executablePath: browserPath() });

/**
 * Opens a page that notes everything that must not happen: errors in the console, exceptions, violations of the
 * policy, requests to other hosts, dialogs of the browser. `page.verify()` fails if something did.
 * `expected` matches texts of the console that the test provokes.
 */
export async function open(browser, url, { scheme = "light", key, expected, width = 1360, height = 850 } = {}) {
  const context = await browser.newContext({
    colorScheme: scheme,
    viewport: { width, height },
    reducedMotion: "reduce",
  });
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !expected?.test(message.text()))
      wrong.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => wrong.push(`exception: ${error.message}`));
  page.on("dialog", (dialog) => {
    wrong.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("request", (request) => {
    if (!request.url().startsWith("about:") && new URL(request.url()).origin !== url)
      wrong.push(`foreign request: ${request.url()}`);
  });
  await page.exposeFunction("noteViolation", (text) => wrong.push(`policy: ${text}`));
  await page.addInitScript((stored) => {
    document.addEventListener("securitypolicyviolation", (event) => {
      globalThis.noteViolation(`${event.violatedDirective} ${event.blockedURI}`);
    });
    // Not on about:blank, and not over a key that the test has changed.
    if (stored && location.protocol === "http:" && !sessionStorage.getItem("tasker-key")) {
      sessionStorage.setItem("tasker-key", stored);
    }
  }, key);
  page.base = url;
  page.show = async (hash) => {
    // A new document each time, so that nothing of the page before remains.
    await page.goto("about:blank");
    await page.goto(`${url}/${hash}`);
    await settled(page);
  };
  page.verify = () => assert.deepEqual(wrong, []);
  page.axe = async () => {
    const { violations } = await new AxeBuilder({ page }).analyze();
    assert.deepEqual(
      violations.map(({ id, nodes }) => [
        id,
        nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.failureSummary}`),
      ]),
      [],
    );
  };
  return page;
}

/** Waits until the page has its heading and loads nothing. */
export async function settled(page) {
  await page.waitForSelector("h1", { timeout: DEADLINE });
  await page.waitForFunction(() => !document.querySelector(".loading"), null, { timeout: DEADLINE });
}

/**
 * Calls `act` in the page. As soon as a change of the document makes `isThere` true, before the page does anything
 * else, calls `look`, and returns what that returns. All three run in the page.
 */
export function whenDrawn(page, act, isThere, look) {
  return page.evaluate(`new Promise((resolve) => {
    const observer = new MutationObserver(() => {
      if (!(${isThere})()) return;
      observer.disconnect();
      resolve((${look})());
    });
    observer.observe(document.body, { childList: true, subtree: true, characterData: true });
    (${act})();
  })`);
}

/** Presses Tab until the element with this role and name has the focus. */
export async function tabTo(page, role, name) {
  for (let presses = 0; presses < 200; presses++) {
    const found = page.getByRole(role, { name }).and(page.locator(":focus"));
    if ((await found.count()) > 0) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`Tab does not reach the ${role} ${name}`);
}
