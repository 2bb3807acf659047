// Live changes: fast, complete after an outage, without rows that jump, and none while the page is hidden.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, open, settled, Stack, step, until } from "./support.mjs";

let stack;
let browser;
before(async () => {
  stack = await Stack.start();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await stack?.stop();
});

/** A task with steps that wait for an operator. */
async function waiting(name, count) {
  const steps = Array.from({ length: count }, (_, index) => step(`step_${index}`, "permanent"));
  await stack.api.template(name, steps);
  const { task_uuid: id } = await stack.api.task(name);
  await stack.api.rest(id);
  return id;
}

const resolve = (api, id, name) => api.post(`/v1/tasks/${id}/steps/${name}/resolve`, { result: null });

test("every change comes to the page, and the time is printed", async () => {
  const samples = 60;
  const id = await waiting("latency", samples);
  const page = await open(browser, stack.url);
  await page.show(`#/tasks/${id}`);
  await page.getByText("Live", { exact: true }).waitFor();
  const times = [];
  for (let index = 0; index < samples; index++) {
    const begun = Date.now();
    await resolve(stack.api, id, `step_${index}`);
    // In the page, so that the test's own polling costs nothing.
    await page.waitForFunction(
      (done) => document.querySelector(".facts")?.textContent.includes(`${done} of `),
      index + 1,
      { polling: "raf" },
    );
    times.push(Date.now() - begun);
  }
  times.sort((a, b) => a - b);
  const median = times[samples / 2];
  console.log(`commit to DOM: median ${median} ms, longest ${times.at(-1)} ms`);
  page.verify();
  await page.context().close();
});

test("a killed server: the page says so, and shows everything when the server is back", async () => {
  const id = await waiting("outage", 3);
  const server = await stack.server();
  const page = await open(browser, server.url, { expected: /ERR_/ });
  await page.show(`#/tasks/${id}`);
  await page.getByText("Live", { exact: true }).waitFor();
  await server.kill();
  await page.getByText("Connection lost. Trying again…").waitFor();
  // The other server serves on. The page must not miss what happens meanwhile.
  await resolve(stack.api, id, "step_0");
  await resolve(stack.api, id, "step_1");
  await stack.server({ port: server.port });
  await page.getByText("Live", { exact: true }).waitFor();
  await page.locator(".facts").getByText("2 of 3").waitFor();
  await resolve(stack.api, id, "step_2");
  await page.locator(".facts").getByText("Completed").waitFor();
  page.verify();
  await page.context().close();
});

test("a page that opens while the database is down shows its data when it is back", async () => {
  const page = await open(browser, stack.url, { expected: /status of 503/ });
  // A response of the server to each request while its database does not respond.
  const down = { type: "/problems/no-database", title: "No database", status: 503, detail: "the database is away" };
  await page.route("**/v1/**", (route) => {
    if (route.request().url().includes("/v1/whoami")) return route.continue();
    return route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify(down) });
  });
  for (const [address, row] of [
    ["#/", "Needs attention|Nothing needs your attention"],
    ["#/templates", "faults/outage|order_fulfillment"],
  ]) {
    await page.goto("about:blank");
    await page.goto(`${stack.url}/${address}`);
    await page.getByRole("alert").first().getByText("the database is away").waitFor();
    assert.equal(await page.getByText(new RegExp(row)).count(), 0);
  }
  await page.unroute("**/v1/**");
  // Nobody presses "Try again".
  await page
    .getByText(/order_fulfillment/)
    .first()
    .waitFor();
  await page.getByRole("alert").waitFor({ state: "detached" });
  await page.evaluate(() => (location.hash = "#/"));
  await page.getByRole("heading", { name: "Namespaces" }).waitFor();
  page.verify();
  await page.context().close();
});

test("a page says that a server takes requests and does not respond, and goes on when it does", async () => {
  const page = await open(browser, stack.url);
  await page.clock.install();
  await page.show("#/");
  await page.route("**/v1/workers*", () => {});
  await page.evaluate(() => (location.hash = "#/workers"));
  await page.getByRole("heading", { name: "Workers" }).waitFor();
  await page.clock.runFor(20_000);
  await page.getByRole("alert").getByText("The server has not responded for 20 s.").waitFor();
  await page.axe();
  await page.unroute("**/v1/workers*");
  await page.clock.runFor(4_000);
  await page.getByRole("row", { name: /Running/ }).waitFor();
  await page.getByRole("alert").waitFor({ state: "detached" });
  page.verify();
  await page.context().close();
});

test("times are right from the first look if the clock of the page's machine is wrong", async () => {
  const page = await open(browser, stack.url);
  await page.addInitScript(() => {
    const right = Date.now.bind(Date);
    Date.now = () => right() + 3_600_000;
    // No tick of the clock: what is shown comes from the responses.
    globalThis.setInterval = () => 0;
  });
  await page.show("#/workers");
  assert.match(await page.getByRole("row", { name: /Running/ }).innerText(), /(now|\d+ s ago|in \d s)/);
  page.verify();
  await page.context().close();
});

test("the console starts by itself when the server responds again", async () => {
  const page = await open(browser, stack.url, { expected: /status of 503/ });
  await page.route("**/v1/whoami", (route) => route.fulfill({ status: 503, body: "away" }));
  await page.goto(stack.url);
  await page.getByText("The server responded with status 503.").waitFor();
  await page.unroute("**/v1/whoami");
  await page.getByRole("heading", { name: "Dashboard" }).waitFor();
  page.verify();
  await page.context().close();
});

test("a page goes on when the clock of its machine is set back", async () => {
  await stack.api.template("clock", [step("say", "echo")]);
  await stack.api.task("clock");
  const page = await open(browser, stack.url);
  await page.show("#/tasks?template=clock");
  await stack.api.task("clock");
  await page.getByRole("button", { name: "1 new" }).waitFor();
  await page.evaluate(() => {
    // Back at each look, so that no look is the first one after the change.
    let time = Date.now();
    Date.now = () => (time -= 3_600_000);
  });
  await stack.api.task("clock");
  await page.getByRole("button", { name: "2 new" }).waitFor();
  page.verify();
  await page.context().close();
});

test("children of a group appear while the page is open", async () => {
  await stack.api.template("growing", [
    { ...step("list", "echo"), wait: { signal: "go" } },
    { ...step("each", "echo", {}, ["list"]), map: { step: "list", pointer: "/items" } },
  ]);
  const { task_uuid: id } = await stack.api.task("growing", { items: [1, 2, 3] });
  const page = await open(browser, stack.url);
  await page.show(`#/tasks/${id}`);
  await page.getByText("Live", { exact: true }).waitFor();
  assert.equal(await page.locator("tbody tr").count(), 2);
  await stack.api.post(`/v1/tasks/${id}/signals/go`);
  for (const name of ["each_0", "each_1", "each_2"]) {
    await page.getByRole("row", { name: new RegExp(`${name}.*Completed`) }).waitFor();
  }
  page.verify();
  await page.context().close();
});

test("new tasks are announced, and no row jumps", async () => {
  await stack.api.template("news", [step("say", "echo")]);
  await stack.api.task("news");
  const page = await open(browser, stack.url);
  await page.show("#/tasks?namespace=faults&template=news");
  const rows = () =>
    page.locator("tbody [data-row]").evaluateAll((links) => links.map((link) => link.getAttribute("href")));
  const shown = await rows();
  assert.equal(shown.length, 1);
  const created = [];
  for (let index = 0; index < 12; index++) created.push((await stack.api.task("news")).task_uuid);
  await page.getByRole("button", { name: "12 new" }).waitFor();
  assert.deepEqual(await rows(), shown);
  await page.getByRole("button", { name: "12 new" }).click();
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 13);
  assert.deepEqual(await rows(), [...created.reverse().map((id) => `#/tasks/${id}`), ...shown]);
  await page.getByRole("button", { name: /new$/ }).waitFor({ state: "detached" });
  page.verify();
  await page.context().close();
});

test("a page says who ended the task, and why", async () => {
  await stack.api.template("ended", [step("sleep", "sleep", { ms: 60_000 })]);
  const { task_uuid: id } = await stack.api.task("ended");
  const page = await open(browser, stack.url);
  await page.show(`#/tasks/${id}`);
  await stack.api.post(`/v1/tasks/${id}/cancel`, { actor: "ada", reason: "ordered twice" });
  await page.getByText("Cancelled by ada: ordered twice").waitFor();
  page.verify();
  await page.context().close();
});

test("a row changes its state where it stands", async () => {
  const id = await waiting("row", 1);
  const page = await open(browser, stack.url);
  await page.show("#/tasks?template=row");
  const row = page.locator("tbody tr").first();
  await row.getByText("Blocked by failures").waitFor();
  await resolve(stack.api, id, "step_0");
  await row.getByText("Completed").waitFor();
  page.verify();
  await page.context().close();
});

test("a hidden page watches nothing, and catches up when it is shown", async () => {
  const id = await waiting("hidden", 2);
  const page = await open(browser, stack.url);
  let streams = 0;
  page.on("request", (request) => (streams += request.url().includes("/v1/events") ? 1 : 0));
  const ended = (request) => (streams -= request.url().includes("/v1/events") ? 1 : 0);
  page.on("requestfailed", ended);
  page.on("requestfinished", ended);
  await page.show(`#/tasks/${id}`);
  await page.getByText("Live", { exact: true }).waitFor();
  await until("there is one stream", () => streams === 1);
  const setHidden = (hidden) =>
    page.evaluate((value) => {
      Object.defineProperty(document, "hidden", { value, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
  await setHidden(true);
  await until("the stream is closed", () => streams === 0);
  await resolve(stack.api, id, "step_0");
  await setHidden(false);
  await page.locator(".facts").getByText("1 of 2").waitFor();
  await settled(page);
  page.verify();
  await page.context().close();
});
