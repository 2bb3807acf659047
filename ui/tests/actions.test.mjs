// What users do: log in, find, retry, resolve, cancel, fail, run again, start, act on all that match; by keyboard
// alone, and only what their key allows.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { launch, open, settled, Stack, step, tabTo, until, whenDrawn } from "./support.mjs";

const SCOPES = {
  reader: ["read"],
  submitter: ["read", "submit"],
  operator: ["read", "operate"],
  blind: ["submit"],
  all: ["read", "submit", "operate"],
};
const keys = Object.entries(SCOPES).map(([name, scopes]) => ({ name, scopes, key: randomBytes(24).toString("hex") }));
const keyOf = (name) => keys.find((key) => key.name === name).key;
const REFUSED = /status of (401|404|409|422)/;

let stack;
let browser;
let server;
before(async () => {
  stack = await Stack.start();
  browser = await launch();
  server = await stack.server({ keys });
});
after(async () => {
  await browser?.close();
  await stack?.stop();
});

/** A task whose only step has failed. */
async function blocked(name, more = {}) {
  await stack.api.template(name, [step("decline", "permanent"), step("after", "echo", {}, ["decline"])]);
  const { task_uuid: id } = await stack.api.task(name, { amount: 7 }, more);
  assert.equal((await stack.api.rest(id)).status, "blocked_by_failures");
  return id;
}

test("a journey by keyboard alone: log in, find, retry, resolve, cancel, log out", async () => {
  const id = await blocked("journey", { tags: { customer: "keyboard" } });
  const other = await blocked("journey_two");
  const page = await open(browser, server.url, { expected: REFUSED });
  const { keyboard } = page;
  await page.goto(server.url);
  // The field of the key has the focus.
  await page.getByLabel("API key or token").and(page.locator(":focus")).waitFor();
  await keyboard.type("not-a-key-of-this-server");
  await keyboard.press("Enter");
  await page.getByText("The server refused the key").waitFor();
  await page.getByLabel("API key or token").and(page.locator(":focus")).waitFor();
  await keyboard.press("ControlOrMeta+a");
  await keyboard.type(keyOf("all"));
  await keyboard.press("Enter");
  await page.getByRole("heading", { name: "Dashboard" }).waitFor();

  await keyboard.press("/");
  await keyboard.type("customer=keyboard");
  await keyboard.press("Enter");
  await page.waitForURL((url) => url.hash === `#/tasks/${id}`);
  await settled(page);

  await tabTo(page, "button", "Retry the failed step");
  await keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await tabTo(page, "textbox", /Reason/);
  await keyboard.type("the bank is back");
  await keyboard.press("Enter");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await until("the step has failed again", async () => {
    const { transitions } = await stack.api.get(`/v1/tasks/${id}/transitions`);
    return transitions.filter(({ step: name, to }) => name === "decline" && to === "failed").length === 2;
  });

  // The row of the step, by j.
  await page.getByRole("row", { name: /decline.*Failed/ }).waitFor();
  await keyboard.press("j");
  await until("the row has the focus", async () => {
    if ((await page.locator(":focus").innerText()) === "decline") return true;
    await keyboard.press("j");
    return false;
  });
  await keyboard.press("Enter");
  await page.getByRole("complementary", { name: "Step decline" }).waitFor();
  await tabTo(page, "button", "Resolve…");
  await keyboard.press("Enter");
  await tabTo(page, "textbox", /Result/);
  await keyboard.press("ControlOrMeta+a");
  await keyboard.type('{"paid": true}');
  await tabTo(page, "textbox", /Reason/);
  await keyboard.type("paid by hand");
  await keyboard.press("Enter");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  const task = await stack.api.rest(id);
  assert.equal(task.status, "completed");
  assert.deepEqual(task.steps[0].result, { paid: true });
  await page.locator(".facts").getByText("Completed").waitFor();
  await keyboard.press("Escape");
  await page.getByRole("complementary", { name: "Step decline" }).waitFor({ state: "detached" });

  await keyboard.press("/");
  await keyboard.type(other);
  await keyboard.press("Enter");
  await page.waitForURL((url) => url.hash === `#/tasks/${other}`);
  await settled(page);
  await tabTo(page, "button", "Cancel");
  await keyboard.press("Enter");
  await tabTo(page, "button", "Cancel the task");
  await keyboard.press("Enter");
  await page.locator(".facts").getByText("Cancelled").waitFor();
  assert.equal((await stack.api.get(`/v1/tasks/${other}`)).status, "cancelled");

  // The actor is the key, and the history has the reasons.
  const { transitions } = await stack.api.get(`/v1/tasks/${id}/transitions`);
  const acts = transitions
    .filter(({ actor }) => actor?.startsWith("key:"))
    .map(({ actor, reason }) => `${actor}: ${reason}`);
  assert.ok(acts.includes("key:all: the bank is back") && acts.includes("key:all: paid by hand"), acts.join("\n"));

  // The key was never in an address or in permanent storage.
  assert.ok(!page.url().includes(keyOf("all")));
  assert.equal(await page.evaluate(() => JSON.stringify({ ...localStorage }) + document.cookie), "{}");
  await tabTo(page, "button", "Log out");
  await keyboard.press("Enter");
  await page.getByRole("heading", { name: "Log in to Tasker" }).waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  page.verify();
  await page.context().close();
});

test("a dialog is open as soon as it is drawn, so a fast Tab cannot leave it", async () => {
  const id = await blocked("fast_keys");
  const page = await open(browser, server.url, { key: keyOf("all") });
  await page.show(`#/tasks/${id}`);
  await page.getByRole("button", { name: "Cancel" }).focus();
  const isOpen = await whenDrawn(
    page,
    () => document.activeElement.click(),
    () => document.querySelector("dialog") !== null,
    () => document.querySelector("dialog").open,
  );
  assert.equal(isOpen, true);
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Cancel" }).and(page.locator(":focus")).waitFor();
  page.verify();
  await page.context().close();
});

test("a new page has the focus as soon as it is drawn, so it takes it from no field", async () => {
  const page = await open(browser, server.url, { key: keyOf("all") });
  await page.show("#/");
  const focused = await whenDrawn(
    page,
    () => (location.hash = "#/workers"),
    () => document.querySelector("main h1")?.textContent === "Workers",
    () => document.activeElement === document.querySelector("main h1"),
  );
  assert.equal(focused, true);
  page.verify();
  await page.context().close();
});

test("a schedule is run now, paused and resumed", async () => {
  await stack.api.template("scheduled", [step("echo", "echo")]);
  const schedule = { namespace: "faults", template: "scheduled", cron: "0 2 * * *", context: { n: 1 } };
  await stack.api.request("PUT", "/v1/schedules/every_night", schedule);
  const page = await open(browser, stack.url);
  await page.show("#/schedules");
  const row = page.getByRole("row", { name: "every_night" });
  const stored = () => stack.api.get("/v1/schedules/every_night");
  await row.getByRole("button", { name: "Run now" }).click();
  await until("a task was created", async () => {
    const { tasks } = await stack.api.get("/v1/tasks?template=scheduled");
    return tasks.length === 1;
  });
  await row.getByRole("button", { name: "Pause" }).click();
  await row.getByText("Paused").waitFor();
  // Everything else stays as it was.
  const paused = await stored();
  assert.deepEqual([paused.paused, paused.cron, paused.context], [true, "0 2 * * *", { n: 1 }]);
  await row.getByRole("button", { name: "Resume" }).click();
  await until("it is resumed", async () => !(await stored()).paused);
  page.verify();
  await page.context().close();
});

test("a gate shows who waits, and a step says it; a higher limit lets it run", async () => {
  const gate = { concurrency: { gate: "printer", key: "/room", limit: 1 } };
  await stack.api.template("gated", [{ ...step("print", "sleep", { ms: 60_000 }), ...gate }]);
  await stack.api.task("gated", { room: "attic" });
  const running = async () => (await stack.api.get("/v1/gates/faults/printer")).holding;
  await until("the first one runs", async () => (await running()) === 1);
  const { task_uuid: id } = await stack.api.task("gated", { room: "attic" });
  const page = await open(browser, stack.url);
  await page.show(`#/tasks/${id}?step=print`);
  const panel = page.getByRole("complementary", { name: "Step print" });
  await until("the step says why it waits", async () => {
    await page.reload();
    await settled(page);
    return panel.getByText("It waits for gate printer, key attic, position 1.").isVisible();
  });
  await page.show("#/gates");
  const row = page.getByRole("row", { name: "printer" });
  await row.getByRole("button", { name: "Set the limit…" }).click();
  const dialog = page.getByRole("dialog", { name: "Limit of printer" });
  await dialog.getByLabel("Limit").fill("many");
  await dialog.getByRole("button", { name: "Set the limit" }).click();
  await dialog.getByText("The limit must be a number").waitFor();
  await dialog.getByLabel("Limit").fill("2");
  await page.axe();
  await dialog.getByRole("button", { name: "Set the limit" }).click();
  await row.getByText("templates: 1").waitFor();
  await until("the second one runs", async () => (await running()) === 2);
  await row.getByRole("button", { name: "2 hold a slot of printer" }).click();
  const holders = page.getByRole("dialog", { name: "Steps that hold a slot of printer" });
  await until("both hold a slot", async () => (await holders.getByRole("row", { name: "attic" }).count()) === 2);
  await page.axe();
  await holders
    .getByRole("row", { name: id.slice(-8) })
    .getByRole("link", { name: "print" })
    .click();
  await panel.waitFor();
  assert.ok(page.url().endsWith(`#/tasks/${id}?step=print`));
  page.verify();
  await page.context().close();
});

test("the rate of a gate is set, and left to the templates again", async () => {
  const rate = { rate: { gate: "courier", limit: 10, per_seconds: 60, burst: 1 } };
  await stack.api.template("rated", [{ ...step("send", "sleep", { ms: 0 }), ...rate }]);
  const page = await open(browser, stack.url);
  await page.show("#/gates");
  const row = page.getByRole("row", { name: "courier" });
  await row.getByText("10 in 60 s, 1 at once").waitFor();
  assert.equal(await row.getByRole("button", { name: "Set the limit…" }).count(), 0, "it has no limit");
  await row.getByRole("button", { name: "Set the rate…" }).click();
  const dialog = page.getByRole("dialog", { name: "Rate of courier" });
  await dialog.getByLabel("Seconds").fill("0");
  await dialog.getByRole("button", { name: "Set the rate" }).click();
  await dialog.getByText("The seconds must be a number from 1").waitFor();
  await dialog.getByLabel("Seconds").fill("30");
  await dialog.getByLabel("Steps at once").fill("11");
  await dialog.getByRole("button", { name: "Set the rate" }).click();
  await dialog.getByText("The steps at once must be a number from 1 to 10.").waitFor();
  await dialog.getByLabel("Steps at once").fill("5");
  await page.axe();
  await dialog.getByRole("button", { name: "Set the rate" }).click();
  await row.getByText("10 in 30 s, 5 at once").waitFor();
  await row.getByText("templates: 10 in 60 s, 1 at once").waitFor();
  await row.getByRole("button", { name: "Set the rate…" }).click();
  for (const field of ["Steps", "Seconds", "Steps at once"]) {
    await dialog.getByLabel(field, { exact: true }).fill("");
  }
  await dialog.getByRole("button", { name: "Set the rate" }).click();
  await row.getByText("templates:").waitFor({ state: "detached" });
  assert.deepEqual((await stack.api.get("/v1/gates/faults/courier")).rate, { limit: 10, per_seconds: 60, burst: 1 });
  page.verify();
  await page.context().close();
});

test("an investigation is opened, noted, closed and found again", async () => {
  await stack.api.template("odd", [step("sleep", "sleep", { ms: 60_000 })]);
  const { task_uuid: id } = await stack.api.task("odd");
  const page = await open(browser, server.url, { key: keyOf("all") });
  await page.show(`#/tasks/${id}`);
  await page.getByRole("link", { name: "Investigations" }).click();
  await page.getByText("There is no such investigation.").waitFor();
  await page.getByRole("button", { name: "Open an investigation…" }).click();
  await page.getByLabel("Notes").fill("takes longer than yesterday");
  await page.axe();
  await page.getByRole("dialog").getByRole("button", { name: "Open" }).click();
  await page.getByRole("cell", { name: "takes longer than yesterday" }).waitFor();
  // A task has one open investigation at most.
  assert.equal(await page.getByRole("button", { name: "Open an investigation…" }).count(), 0);

  await page.show("#/");
  // Tasks of other tests that were blocked, and are so no more, may count too.
  const one = "1 investigation of tasks that are not blocked is open";
  const some = String.raw`\d+ investigations of tasks that are not blocked are open`;
  await page.getByText(new RegExp(`^(${one}|${some}): they took too long, or somebody asked for it\\.$`)).waitFor();
  await page.getByRole("link", { name: "See the dead letters" }).click();
  const row = page.getByRole("row", { name: id.slice(-8) });
  await row.getByText("An operator opened it").waitFor();
  await row.getByRole("button", { name: "Change…" }).click();
  await page.getByRole("dialog").getByLabel("Status").selectOption("manually_resolved");
  await page.getByLabel("Notes").fill("the disk was full");
  await page.getByRole("button", { name: "Save" }).click();
  await row.waitFor({ state: "detached" });
  await page.getByLabel("Status").selectOption("all");
  await row.getByText("the disk was full").waitFor();
  await row.getByText("by key:all").waitFor();
  page.verify();
  await page.context().close();
});

test("a list that loads slowly is not asked for again before it is there", async () => {
  await stack.api.template("slow_gate", [{ ...step("send", "echo"), concurrency: { gate: "ferry", limit: 3 } }]);
  const page = await open(browser, stack.url);
  await page.clock.install();
  const held = [];
  await page.route("**/v1/gates", (route) => held.push(route));
  await page.goto(`${stack.url}/#/gates`);
  await until("the list is asked for", () => held.length === 1);
  // The list is loaded every 5 s, and a request may take 20 s.
  await page.clock.runFor(15_000);
  assert.equal(held.length, 1);
  await held[0].continue();
  await page.getByRole("row", { name: "ferry" }).waitFor();
  await page.clock.runFor(6_000);
  await until("the list is asked for again", () => held.length === 2);
  await held[1].continue();
  page.verify();
  await page.context().close();
});

test("each scope sees its actions, and no other", async () => {
  const id = await blocked("scopes");
  const operate = [
    "Retry the failed step",
    "Mark as failed",
    "Cancel",
    "Run again…",
    "Retry",
    "Resolve…",
    "Run again from here…",
  ];
  const seen = { reader: [], submitter: [], operator: operate, all: operate };
  for (const [name, expected] of Object.entries(seen)) {
    const page = await open(browser, server.url, { key: keyOf(name) });
    await page.show(`#/tasks/${id}?step=decline`);
    const buttons = await page.locator("main button").allInnerTexts();
    assert.deepEqual(buttons.filter((text) => !text.startsWith("Copy")).sort(), [...expected].sort(), name);
    await page.show("#/templates/faults/scopes");
    assert.equal(
      await page.getByRole("link", { name: "Start a task" }).count(),
      SCOPES[name].includes("submit") ? 1 : 0,
      name,
    );
    await page.show(`#/dlq?task=${id}`);
    assert.equal((await page.locator("main button").count()) > 0, expected.includes("Cancel"), name);
    await page.show("#/tasks");
    const boxes = await page.locator("tbody input[type=checkbox]").count();
    assert.equal(boxes > 0, expected.includes("Cancel"), name);
    page.verify();
    await page.context().close();
  }
  const page = await open(browser, server.url, { key: keyOf("blind") });
  await page.show("#/tasks");
  await page.getByText("This key lacks the scope read.").waitFor();
  page.verify();
  await page.context().close();
});

test("a key that loses a scope while the page is open loses its actions", async () => {
  const id = await blocked("shrinks");
  const page = await open(browser, server.url, { key: keyOf("reader"), expected: /status of 403/ });
  // What the server said before somebody changed the key.
  await page.route("**/v1/whoami", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), scopes: ["read", "operate"] } });
  });
  await page.show(`#/tasks/${id}`);
  await page.unroute("**/v1/whoami");
  await page.getByRole("button", { name: "Cancel", exact: true }).click();
  await page.getByLabel("Reason").fill("enough");
  await page.getByRole("dialog").getByRole("button", { name: "Cancel the task" }).click();
  await page.getByRole("button", { name: "Cancel", exact: true }).waitFor({ state: "detached" });
  page.verify();
  await page.context().close();
});

test("a key that the server no longer accepts leads to the login, and the page stays", async () => {
  const page = await open(browser, server.url, { key: keyOf("reader"), expected: REFUSED });
  await page.show("#/workers");
  await page.evaluate(() => sessionStorage.setItem("tasker-key", "a-key-that-was-removed-from-the-server"));
  await page.reload();
  await page.getByText("The server refused the key").waitFor();
  await page.getByLabel("API key or token").fill(keyOf("reader"));
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("heading", { name: "Workers" }).waitFor();
  page.verify();
  await page.context().close();
});

test("a text that is no key says so, and the page can be used again", async () => {
  const page = await open(browser, server.url, { expected: REFUSED });
  await page.goto(server.url);
  // A sign that nobody sees, as it comes with a copied text.
  const invisible = `${keyOf("all").slice(0, 8)}\u200b${keyOf("all").slice(8)}`;
  await page.getByLabel("API key or token").fill(invisible);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByText("A key has only letters from a to z").waitFor();
  // Nor does such a text in the storage keep the page from starting.
  await page.evaluate((text) => sessionStorage.setItem("tasker-key", text), invisible);
  await page.reload();
  await page.getByLabel("API key or token").fill(keyOf("all"));
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("heading", { name: "Dashboard" }).waitFor();
  page.verify();
  await page.context().close();
});

test("all tasks that match are retried by one job, with a preview and a reason", async () => {
  await stack.api.template("bulk", [step("decline", "permanent")]);
  const ids = [];
  for (let index = 0; index < 60; index++) ids.push((await stack.api.task("bulk", {}, { tags: ["bulk"] })).task_uuid);
  await Promise.all(ids.map((id) => stack.api.rest(id)));
  const page = await open(browser, stack.url);
  await page.show("#/tasks?template=bulk&status=blocked_by_failures");
  await page.getByLabel("Select all tasks of this page").check();
  await page.getByText("50 tasks selected").waitFor();
  await page.getByRole("button", { name: "Select all that match" }).click();
  await page.getByRole("button", { name: "Retry", exact: true }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("60 tasks").waitFor();
  await page.axe();
  await dialog.getByLabel(/Reason/).fill("a fix was deployed");
  await dialog.getByRole("button", { name: "Retry" }).click();
  await page.getByRole("heading", { name: "Bulk jobs" }).waitFor();
  const row = page.getByRole("row", { name: /a fix was deployed/ });
  await row.getByText("Completed").waitFor();
  assert.match(await row.innerText(), /\b60\b/);
  await page.axe();
  for (const id of ids) {
    const { transitions } = await stack.api.get(`/v1/tasks/${id}/transitions`);
    assert.ok(
      transitions.some(({ reason }) => reason === "a fix was deployed"),
      id,
    );
  }
  page.verify();
  await page.context().close();
});

test("selected tasks are cancelled one by one, and the refused ones are named", async () => {
  const ids = [await blocked("each_one"), await blocked("each_two")];
  const page = await open(browser, stack.url, { expected: REFUSED });
  await page.show("#/tasks?status=blocked_by_failures");
  for (const id of ids) await page.getByLabel(new RegExp(`Select .*${id}`)).check();
  await page.getByText("2 tasks selected").waitFor();
  await stack.api.post(`/v1/tasks/${ids[0]}/cancel`);
  await page.getByRole("button", { name: "Cancel", exact: true }).click();
  await page
    .getByRole("dialog")
    .getByLabel(/Reason/)
    .fill("not needed");
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  await page.getByText("The server refused 1 task:").waitFor();
  assert.equal((await stack.api.get(`/v1/tasks/${ids[1]}`)).status, "cancelled");
  page.verify();
  await page.context().close();
});

test("a form made from the schema starts a task, and shows what is wrong", async () => {
  await stack.api.template("form", [step("say", "echo")], {
    input_schema: {
      type: "object",
      required: ["customer", "lines"],
      properties: {
        customer: {
          type: "object",
          required: ["email"],
          properties: { email: { type: "string", pattern: "^[^@]+@[^@]+$" } },
        },
        lines: {
          type: "array",
          minItems: 1,
          items: { type: "object", required: ["count"], properties: { count: { type: "integer", minimum: 1 } } },
        },
        speed: { enum: ["standard", "express"] },
        gift: { type: "boolean" },
      },
    },
  });
  const page = await open(browser, stack.url, { expected: REFUSED });
  await page.show("#/templates/faults/form?tab=start");
  await page.getByRole("button", { name: "Start the task" }).click();
  await page.getByText("This is required.").first().waitFor();
  await page.getByLabel("email").fill("nobody");
  await page.getByLabel("count").fill("3");
  await page.getByLabel("speed").selectOption({ label: "express" });
  await page.getByLabel("gift").selectOption("true");
  await page.getByText("Tags, priority, idempotency key").click();
  await page.getByLabel("Tags").fill("customer=acme");
  await page.getByRole("button", { name: "Start the task" }).click();
  // The server knows the pattern. The message is at the field.
  await page
    .locator(".field", { has: page.getByLabel("email") })
    .getByRole("alert")
    .waitFor();
  await page.getByLabel("email").fill("ada@example.com");
  await page.getByRole("button", { name: "Start the task" }).click();
  await page.waitForURL((url) => url.hash.startsWith("#/tasks/"));
  const task = await stack.api.rest(new URL(page.url()).hash.split("/").pop());
  assert.deepEqual(task.context, {
    customer: { email: "ada@example.com" },
    lines: [{ count: 3 }],
    speed: "express",
    gift: true,
  });
  assert.deepEqual(task.tags, { customer: "acme" });
  page.verify();
  await page.context().close();
});

test("a task that waits for a signal says so, and gets it, by keyboard alone", async () => {
  const wait = { signal: "approved", timeout_seconds: 172_800 };
  await stack.api.template("approval", [{ ...step("approve", "echo"), wait }, step("pay", "echo", {}, ["approve"])]);
  const { task_uuid: id } = await stack.api.task("approval");
  const page = await open(browser, server.url, { key: keyOf("submitter"), expected: REFUSED });
  const { keyboard } = page;
  await page.show(`#/tasks/${id}`);
  const why = page.getByRole("region", { name: "Why is it waiting?" });
  await why.getByText("It waits for the signal approved.").waitFor();
  assert.match(await why.innerText(), /\(1 d 23 h left\)|\(2 d left\)/);
  await tabTo(page, "link", "approve");
  await keyboard.press("Enter");
  await page.getByRole("button", { name: "Send the signal…" }).waitFor();
  await tabTo(page, "button", "Send the signal…");
  await keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "Send the signal" });
  await dialog.waitFor();
  await page.axe();
  await tabTo(page, "textbox", /Payload/);
  await keyboard.press("ControlOrMeta+a");
  await keyboard.type('{"by": ada}');
  await tabTo(page, "button", "Send the signal");
  await keyboard.press("Enter");
  await dialog.getByText("This is not JSON").waitFor();
  await tabTo(page, "textbox", /Payload/);
  await keyboard.press("ControlOrMeta+a");
  await keyboard.type('{"by": "ada"}');
  await tabTo(page, "button", "Send the signal");
  await keyboard.press("Enter");
  await page.locator(".facts").getByText("Completed").waitFor();
  assert.equal((await stack.api.rest(id)).status, "completed");
  // The same signal with the same payload is no change, so the payload has arrived as it was typed.
  await stack.api.post(`/v1/tasks/${id}/signals/approved`, { payload: { by: "ada" } });
  page.verify();
  await page.context().close();
});

test("a task runs again from a step, with the results of the others", async () => {
  const id = await blocked("forked");
  const page = await open(browser, stack.url);
  await page.show(`#/tasks/${id}?step=decline`);
  await page.getByRole("button", { name: "Run again from here…" }).click();
  const dialog = page.getByRole("dialog", { name: "Run again from this step" });
  await dialog.getByLabel(/Reason/).fill("the bank is back");
  await page.axe();
  await dialog.getByRole("button", { name: "Start the new task" }).click();
  await page.waitForURL((url) => url.hash.startsWith("#/tasks/") && !url.hash.includes(id));
  await settled(page);
  const fork = new URL(page.url()).hash.split("/").pop();
  assert.equal((await stack.api.get(`/v1/tasks/${fork}`)).forked_from, id);
  await page.getByRole("link", { name: id.slice(-8) }).click();
  await page.waitForURL((url) => url.hash === `#/tasks/${id}`);
  await page.getByRole("link", { name: fork.slice(-8) }).waitFor();
  page.verify();
  await page.context().close();
});

test("a step that was skipped offers no result", async () => {
  await stack.api.template("skipping", [
    step("check", "echo"),
    { ...step("never", "echo", {}, ["check"]), when: [{ step: "check", pointer: "/amount", at_least: 10 }] },
    step("decline", "permanent", {}, ["check"]),
  ]);
  const { task_uuid: id } = await stack.api.task("skipping", { amount: 1 });
  await stack.api.rest(id);
  const page = await open(browser, stack.url);
  await page.show(`#/tasks/${id}?step=never`);
  const panel = page.getByRole("complementary", { name: "Step never" });
  await panel.getByText("Skipped").first().waitFor();
  assert.equal(await panel.getByRole("button", { name: "Resolve…" }).count(), 0);
  await page.show(`#/tasks/${id}?step=decline`);
  await page.getByRole("button", { name: "Resolve…" }).waitFor();
  page.verify();
  await page.context().close();
});

test("a count that the server stopped says so, and does not stop the job", async () => {
  await stack.api.template("stopped_count", [step("decline", "permanent")]);
  for (let index = 0; index < 2; index++) await stack.api.rest((await stack.api.task("stopped_count")).task_uuid);
  const page = await open(browser, stack.url);
  const counts = [
    [2, /At least 2 tasks match: the server stopped counting\. The job acts on all that match\./],
    [0, /The server found no task in the time that it counts\. The job looks at all tasks\./],
  ];
  for (const [matched, words] of counts) {
    await page.route("**/v1/bulk", async (route) => {
      // As for a filter that matches few of many tasks.
      const response = await route.fetch();
      await route.fulfill({ response, json: { ...(await response.json()), matched, complete: false } });
    });
    await page.show("#/tasks?template=stopped_count");
    await page.getByLabel("Select all tasks of this page").check();
    await page.getByRole("button", { name: "Select all that match" }).click();
    await page.getByRole("button", { name: "Retry", exact: true }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText(words).waitFor();
    await page.unroute("**/v1/bulk");
    assert.ok(await dialog.getByRole("button", { name: "Retry" }).isEnabled());
  }
  page.verify();
  await page.context().close();
});

test("a task runs again with an edited input, and knows its origin", async () => {
  const id = await blocked("again");
  const page = await open(browser, stack.url);
  await page.show(`#/tasks/${id}`);
  await page.getByRole("button", { name: "Run again…" }).click();
  await page.getByRole("dialog").getByLabel("Input").fill('{"amount": 8');
  await page.getByRole("button", { name: "Start the new task" }).click();
  await page.getByRole("dialog").getByText("This is not JSON").waitFor();
  await page.getByRole("dialog").getByLabel("Input").fill('{"amount": 8}');
  await page
    .getByRole("dialog")
    .getByLabel(/Reason/)
    .fill("with the right amount");
  await page.getByRole("button", { name: "Start the new task" }).click();
  await page.waitForURL((url) => url.hash.startsWith("#/tasks/") && !url.hash.includes(id));
  await settled(page);
  await page.getByRole("link", { name: id.slice(-8) }).waitFor();
  const again = await stack.api.get(`/v1/tasks/${new URL(page.url()).hash.split("/").pop()}`);
  assert.deepEqual([again.context, again.rerun_of], [{ amount: 8 }, id]);
  page.verify();
  await page.context().close();
});
