// Every page: accessible in light and dark, without errors, violations of the policy or foreign requests; and safe
// with hostile texts and large values.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { TYPES, typesOf } from "../scripts/types.mjs";
import { DEADLINE, launch, open, settled, Stack, step, until } from "./support.mjs";

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

test("the committed types are those of the server", async () => {
  const document = await stack.api.get("/openapi.json");
  assert.equal(await readFile(TYPES, "utf8"), typesOf(document), "run `npm run types -- ADDRESS`");
});

/** A task in each state that matters, and the addresses of all pages. */
async function addresses() {
  const { api } = stack;
  const steps = [
    step("collect", "echo"),
    step("flaky", "fail_times", { failures: 1 }),
    step("decline", "permanent", {}, ["collect", "flaky"]),
    ...["a", "b", "c", "d", "e"].map((name) => step(`part_${name}`, "sleep", { ms: 60_000 }, ["collect"])),
  ];
  const schema = {
    type: "object",
    required: ["order", "lines"],
    properties: {
      order: {
        type: "object",
        required: ["id"],
        properties: { id: { type: ["integer", "string"] }, note: { type: "string" } },
      },
      lines: {
        type: "array",
        minItems: 1,
        items: { type: "object", properties: { sku: { type: "string" }, count: { type: "integer", minimum: 1 } } },
      },
      kind: { enum: ["standard", "express"] },
      gift: { type: "boolean" },
      rest: { oneOf: [{ type: "string" }, { type: "object" }] },
    },
  };
  await api.template("pages", steps, { description: "All kinds of steps", input_schema: schema });
  const { task_uuid: id } = await api.task(
    "pages",
    { order: { id: 1 }, lines: [{ sku: "TEA", count: 2 }] },
    { tags: { customer: "acme" }, priority: 3 },
  );
  await api.template("declined", [step("decline", "permanent")]);
  const { task_uuid: blocked } = await api.task("declined", {}, { tags: ["vip"] });
  await api.rest(blocked);
  await api.post("/v1/dlq", { task_uuid: blocked, resolution_notes: "the bank was down" });
  const schedule = { namespace: "faults", template: "declined", cron: "0 2 * * *", timezone: "Europe/Berlin" };
  await api.request("PUT", "/v1/schedules/nightly", schedule);
  const key = { gate: "account", limit: 1 };
  await api.template("gated", [{ ...step("nobody", "sleep", { ms: 60_000 }), concurrency: key }]);
  await api.task("gated");
  const { task_uuid: waits } = await api.task("gated");
  await api.template("unserved", [step("nobody", "no_such_handler")]);
  await api.task("unserved");
  await until("the steps have run", async () => (await api.get(`/v1/tasks/${id}`)).failed_steps === 1);
  return [
    "#/",
    "#/tasks",
    "#/tasks?status=blocked_by_failures,failed&namespace=faults&tag=vip",
    "#/tasks?template=no_such_template",
    `#/tasks/${id}`,
    `#/tasks/${id}?step=decline`,
    `#/tasks/${id}?tab=timeline&step=flaky`,
    `#/tasks/${id}?tab=history`,
    `#/tasks/${id}?tab=input`,
    `#/tasks/${blocked}?step=decline`,
    "#/templates",
    "#/templates/faults/pages",
    "#/templates/faults/pages?tab=start",
    "#/templates/faults/pages?tab=source",
    "#/workers",
    "#/queues",
    "#/gates",
    `#/tasks/${waits}?step=nobody`,
    "#/schedules",
    "#/dlq?status=all",
    "#/bulk",
    "#/no/such/page",
    // Names that every object of JavaScript has.
    "#/constructor",
    "#/__proto__",
  ];
}

test("every page is accessible, light and dark, and keeps to the policy", async (t) => {
  const pages = await addresses();
  for (const scheme of ["light", "dark"]) {
    const page = await open(browser, stack.url, { scheme });
    for (const address of pages) {
      await t.test(`${scheme} ${address.replaceAll(/[0-9a-f-]{36}/g, "ID")}`, async () => {
        await page.show(address);
        await page.axe();
        page.verify();
      });
    }
    await page.context().close();
  }
});

test("every page fits a window of 360 pixels, with the longest names", async () => {
  const { api } = stack;
  const name = "n".repeat(60);
  const long = "s".repeat(128);
  const limits = { concurrency: { gate: "g".repeat(60), limit: 1 }, rate: { gate: name, limit: 9, per_seconds: 60 } };
  await api.template(name, [{ ...step(long, "permanent"), ...limits }, step("after", "echo", {}, [long])]);
  const { task_uuid: id } = await api.task(name, {}, { tags: { [name]: "v".repeat(100) } });
  await api.rest(id);
  await api.post("/v1/dlq", { task_uuid: id, resolution_notes: "note".repeat(50) });
  const timezone = "America/Argentina/ComodRivadavia";
  await api.request("PUT", `/v1/schedules/${name}`, {
    namespace: "faults",
    template: name,
    cron: "0 2 * * *",
    timezone,
  });
  const page = await open(browser, stack.url, { width: 360 });
  for (const address of [
    "#/",
    "#/tasks",
    `#/tasks/${id}`,
    `#/tasks/${id}?step=${long}`,
    `#/tasks/${id}?tab=timeline`,
    `#/tasks/${id}?tab=history`,
    "#/templates",
    `#/templates/faults/${name}`,
    "#/workers",
    "#/queues",
    "#/gates",
    "#/schedules",
    "#/dlq",
    "#/bulk",
  ]) {
    await page.show(address);
    await page.axe();
    const out = await page.evaluate(() => {
      // Without what scrolls by itself, everything ends before the margin of the page.
      const parts = [...document.querySelectorAll("main .card, main .scroll, main h1")];
      const end = Math.max(...parts.map((part) => part.getBoundingClientRect().right));
      return [document.documentElement.scrollWidth - innerWidth, Math.ceil(end) + 8 - innerWidth];
    });
    assert.ok(out[0] <= 0 && out[1] <= 0, `${address}: by how many pixels it is too wide: ${out}`);
  }
  page.verify();
  await page.context().close();
});

test("a page on another port learns nothing, changes nothing, and cannot embed or hold the console", async () => {
  await stack.api.template("coveted", [step("say", "echo")]);
  const attacker = createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end("<!doctype html><title>another program</title>");
  });
  attacker.listen(0, "127.0.0.1");
  await once(attacker, "listening");
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    // What the server said, also of responses that the browser keeps from the page. The events of a request come in
    // any order.
    const [requests, statuses] = [new Map(), new Map()];
    const network = await context.newCDPSession(page);
    await network.send("Network.enable");
    network.on("Network.requestWillBeSent", ({ requestId, request }) => {
      requests.set(new URL(request.url).searchParams.get("as"), requestId);
    });
    network.on("Network.responseReceivedExtraInfo", ({ requestId, statusCode }) => {
      statuses.set(requestId, statusCode);
    });
    await page.goto(`http://127.0.0.1:${attacker.address().port}/`);
    const learned = await page.evaluate(async (server) => {
      const outcome = (element, address) =>
        new Promise((resolve) => {
          element.addEventListener("load", () => resolve("loaded"));
          element.addEventListener("error", () => resolve("refused"));
          element.src = server + address;
          document.body.append(element);
        });
      const text = async (address, init) =>
        fetch(server + address, init).then(
          (response) => response.text(),
          () => "",
        );
      const task = '{"namespace":"faults","name":"coveted","context":{}}';
      const plain = { method: "POST", mode: "no-cors", headers: { "content-type": "text/plain" }, body: task };
      const found = {
        cors: await text("/v1/tasks?as=cors"),
        opaque: await text("/v1/tasks?as=opaque", { mode: "no-cors" }),
        post: await text("/v1/tasks?as=post", plain),
        script: await outcome(document.createElement("script"), "/v1/tasks?as=script"),
        image: await outcome(document.createElement("img"), "/icon.svg"),
        code: await outcome(document.createElement("script"), "/app.js"),
      };
      const frame = document.createElement("iframe");
      await outcome(frame, "/");
      // A page that was refused is an error page of the browser, which has another origin and no frames.
      found.frame = frame.contentDocument === null ? "foreign" : frame.contentDocument.body.innerText;
      return found;
    }, stack.url);
    const nothing = { cors: "", opaque: "", post: "", script: "refused", image: "refused", code: "refused" };
    assert.deepEqual(learned, { ...nothing, frame: "foreign" });
    // The server itself refuses, so that such pages cost it nothing.
    for (const way of ["cors", "opaque", "post"]) {
      assert.equal(await until(`the status of ${way}`, () => statuses.get(requests.get(way))), 403, way);
    }
    assert.deepEqual((await stack.api.get("/v1/tasks?template=coveted")).tasks, []);
    // A window that the page opens does not stay in its hands.
    const [popup] = await Promise.all([
      context.waitForEvent("page"),
      page.evaluate((server) => void (globalThis.opened = open(`${server}/`)), stack.url),
    ]);
    await popup.getByRole("heading", { name: "Dashboard" }).waitFor();
    assert.equal(await popup.evaluate(() => opener), null);
    await until("the page has lost the window", () => page.evaluate(() => globalThis.opened.closed));
  } finally {
    await context.close();
    attacker.close();
  }
});

test("an address of no page says so, whatever its name", async () => {
  const page = await open(browser, stack.url);
  for (const address of [
    "#/constructor",
    "#/__proto__",
    "#/toString",
    "#//evil.example/x",
    "#/tasks/..",
    "#/templates/%2e%2e/x",
  ]) {
    await page.goto("about:blank");
    await page.goto(`${stack.url}/${address}`);
    await page.getByRole("heading", { name: "Page not found" }).waitFor();
  }
  page.verify();
  await page.context().close();
});

test("a task says why it waits, whatever it waits for, and the dashboard says what an operator must do", async () => {
  const { api } = stack;
  const once = { limit: 1, backoff: "fixed", backoff_base_ms: 50, max_backoff_ms: 50 };
  const elsewhere = { namespace_name: "elsewhere" };
  await api.template("why_leaf", [{ ...step("leaf", "permanent"), retry: once }]);
  await api.template("why_middle", [{ name: "middle", task: { template: "why_leaf" } }]);
  await api.template("why_top", [{ name: "top", task: { template: "why_middle" } }]);
  await api.template("why_sleeps", [{ ...step("sleep", "echo"), wait: { delay_seconds: 86_400 } }]);
  const gate = { concurrency: { gate: "why_gate", limit: 1 } };
  await api.template("why_closed", [{ ...step("closed", "echo"), ...gate }]);
  await api.request("PATCH", "/v1/gates/faults/why_gate", { limit: 0 });
  const many = Array.from({ length: 4 }, (_, index) => step(`busy_${index}`, "sleep", { ms: 60_000 }));
  await api.template("why_many", [...many, { ...step("asks", "echo"), wait: { signal: "go" } }]);
  await api.template("why_paused", [step("paused", "no_such_handler")], elsewhere);
  await api.template("why_skipped", [
    step("looks", "echo"),
    { ...step("leaves", "echo", {}, ["looks"]), when: [{ step: "looks", pointer: "/x", equals: 1 }] },
  ]);
  const bad = { namespace: "faults", template: "why_sleeps", cron: "0 2 * * *" };
  await api.request("PUT", "/v1/schedules/why_schedule", bad);
  const id = async (name, namespace = "faults") =>
    (await api.post("/v1/tasks", { namespace, name, context: {} })).task_uuid;
  const top = await id("why_top");
  const { leaf } = await until("the task far below is blocked", async () => {
    const { tasks } = await api.get("/v1/tasks?template=why_leaf");
    return tasks[0]?.status === "blocked_by_failures" && { leaf: tasks[0].task_uuid };
  });
  const many_id = await id("why_many");
  await until("the others run", async () =>
    (await api.get(`/v1/tasks/${many_id}`)).steps.every(({ status }) => ["in_progress", "waiting"].includes(status)),
  );
  const page = await open(browser, stack.url);
  // The panel of a step keeps up with a reason that changes while the step does not.
  await page.clock.install();
  await page.show(`#/tasks/${await id("why_paused", "elsewhere")}?step=paused`);
  const panel = page.getByRole("complementary", { name: "Step paused" });
  await panel.getByText(/No live worker/).waitFor();
  await api.request("PATCH", "/v1/namespaces/elsewhere", { paused: true });
  await page.clock.runFor(6_000);
  await panel.getByText(/Namespace elsewhere is paused since/).waitFor();
  await page.clock.resume();
  const skipped = await id("why_skipped");
  await api.rest(skipped);
  await page.show(`#/tasks/${skipped}?step=leaves`);
  await page.getByText(/It was skipped: a condition/).waitFor();
  const cases = [
    [top, /That waits for task .*, which is blocked_by_failures\. An operator must/],
    [await id("why_sleeps"), /It waits for a time\. \((23 h 59 min|1 d) left\)/],
    [await id("why_closed"), /It waits for gate why_gate, which an operator has closed\. A limit above 0 opens it\./],
    // Many running steps do not hide the one that needs somebody.
    [many_id, /It waits for the signal go\./],
    [await id("why_paused", "elsewhere"), /Namespace elsewhere is paused since/],
  ];
  for (const [task, words] of cases) {
    await page.show(`#/tasks/${task}`);
    await page.getByRole("region", { name: "Why is it waiting?" }).getByText(words).waitFor();
  }
  await page.show(`#/tasks/${top}`);
  await page.getByRole("link", { name: `See the task ${leaf.slice(-8)}` }).click();
  await page.waitForURL((url) => url.hash === `#/tasks/${leaf}`);

  // The schedule has a failure that the test makes up: a real one takes a minute.
  await page.route("**/v1/schedules", async (route) => {
    const response = await route.fetch();
    const { schedules } = await response.json();
    const failed = { last_outcome: "failed", last_error: "there is no such template" };
    await route.fulfill({ response, json: { schedules: schedules.map((each) => ({ ...each, ...failed })) } });
  });
  await page.show("#/");
  const attention = page.locator(".attention");
  await attention.getByText("Namespace elsewhere is paused: none of its steps start.").waitFor();
  await attention.getByText("Gate why_gate of faults is closed, and 1 step waits for it.").waitFor();
  await attention
    .getByText("Schedule why_schedule could not create its last task: there is no such template.")
    .waitFor();
  await page.axe();
  page.verify();
  await page.context().close();
});

test("dialogs and a narrow window are accessible too", async () => {
  await stack.api.template("dialogs", [step("decline", "permanent")]);
  const { task_uuid: id } = await stack.api.task("dialogs");
  await stack.api.rest(id);
  const page = await open(browser, stack.url, { width: 480 });
  await page.show(`#/tasks/${id}?step=decline`);
  await page.axe();
  for (const name of ["Retry the failed step", "Mark as failed", "Cancel", "Run again…", "Resolve…"]) {
    await page.getByRole("button", { name, exact: true }).click();
    await page.getByRole("dialog").waitFor();
    await page.axe();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
  }
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  await page.axe();
  await page.keyboard.press("Escape");
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the page scrolls sideways");
  page.verify();
  await page.context().close();
});

test("hostile names, errors and results are only text", async () => {
  const script = "<script>document.title='owned'</script>";
  const image = `<img src=x onerror="document.title='owned'">`;
  const backwards = "\u202egnihtyreve esrever\u202d";
  const { api } = stack;
  const names = [script, backwards, `"'><svg onload=alert(1)>`, "a/b?c#d&e=f%20", "x".repeat(128)];
  await api.template(
    "hostile",
    names.map((name) => step(name, name === backwards ? "permanent" : "echo", {}, name === names[3] ? [script] : [])),
    { description: image },
  );
  const { task_uuid: id } = await api.task(
    "hostile",
    { image, script, backwards, big: "y".repeat(900_000) },
    { tags: { [script]: image }, idempotency_key: image },
  );
  await api.rest(id);
  const page = await open(browser, stack.url);
  for (const name of names) {
    await page.show(`#/tasks/${id}?step=${encodeURIComponent(name)}`);
    await page.getByRole("complementary", { name: `Step ${name}` }).waitFor();
  }
  for (const address of [
    "#/",
    "#/tasks",
    `#/tasks?tag=${encodeURIComponent(`${script}=${image}`)}`,
    `#/tasks/${id}?tab=timeline`,
    `#/tasks/${id}?tab=history`,
    "#/templates",
    "#/templates/faults/hostile",
  ]) {
    await page.show(address);
  }
  // The links of the graph lead to the steps, whatever they are called.
  await page.show(`#/tasks/${id}`);
  await page
    .getByRole("region", { name: "Graph of the task" })
    .getByRole("link", { name: /a\/b\?c#d/ })
    .click();
  await page.getByRole("complementary", { name: "Step a/b?c#d&e=f%20" }).waitFor();
  // A large value is cut off until the user asks for it.
  await page.show(`#/tasks/${id}?tab=input`);
  const value = page.getByRole("region", { name: "Input of the task" });
  assert.ok((await value.innerText()).length < 20_000);
  await page.getByRole("button", { name: /Show all/ }).click();
  await until("the whole value is shown", async () => (await value.innerText()).length > 900_000);
  assert.match(await page.title(), /Tasker$/);
  assert.equal(await page.locator("main script, main img").count(), 0);
  page.verify();
  await page.context().close();
});

test("integers beyond 2^53 keep their digits", async () => {
  await stack.api.template("digits", [step("say", "echo")]);
  const body = '{"namespace":"faults","name":"digits","context":{"big":9007199254740993}}';
  const { task_uuid: id } = await stack.api.request("POST", "/v1/tasks", body);
  await stack.api.rest(id);
  const page = await open(browser, stack.url);
  await page.show(`#/tasks/${id}?step=say`);
  await page.getByRole("region", { name: "Result of say" }).getByText("9007199254740993").waitFor();
  // The digits survive an edited input, too.
  await page.getByRole("button", { name: "Run again…" }).click();
  const input = page.getByRole("dialog").getByLabel("Input");
  await input.fill((await input.inputValue()).replace("{", '{"note": "again",'));
  await page.getByRole("button", { name: "Start the new task" }).click();
  await page.waitForURL((url) => !url.hash.includes(id));
  const again = new URL(page.url()).hash.split("/").pop();
  const text = await (await fetch(`${stack.url}/v1/tasks/${again}`)).text();
  assert.match(text, /"big":9007199254740993\b/);
  page.verify();
  await page.context().close();
});

test("a graph of 1,000 steps is drawn, and the time is printed", async () => {
  // Steps with different dependents are not merged.
  const width = 50;
  const steps = Array.from({ length: 1000 }, (_, index) => {
    const above = index - width;
    return step(
      `step_${index}`,
      "echo",
      {},
      above < 0 ? [] : [`step_${above}`, ...(index % 7 === 0 && above > 0 ? [`step_${above - 1}`] : [])],
    );
  });
  await stack.api.template("large", steps);
  const page = await open(browser, stack.url);
  await page.addInitScript(() => {
    // When the last node was drawn: after the frame of the change.
    new MutationObserver(() => {
      if (globalThis.drawn || document.querySelectorAll(".node").length < 1000) return;
      requestAnimationFrame(() => setTimeout(() => (globalThis.drawn = performance.now())));
    }).observe(document, { childList: true, subtree: true });
  });
  const times = [];
  while (times.length < 3) {
    await page.show("#/templates/faults/large");
    await page.waitForFunction(() => globalThis.drawn, null, { timeout: DEADLINE });
    times.push(
      await page.evaluate(() => {
        const [layout] = performance.getEntriesByType("resource").filter(({ name }) => name.includes("/layout"));
        return globalThis.drawn - layout.responseEnd;
      }),
    );
  }
  console.log(`1,000 steps: ${times.map((ms) => ms.toFixed(0)).join(", ")} ms`);
  page.verify();
  await page.context().close();
});

test("10,000 tasks: the size of the list is bounded, and the time is printed", async () => {
  await stack.api.template("many", [step("nothing", "echo")]);
  for (let created = 0; created < 10_000; created += 200) {
    await Promise.all(Array.from({ length: 200 }, () => stack.api.task("many")));
  }
  const page = await open(browser, stack.url);
  const times = [];
  for (const address of ["#/tasks", "#/tasks?status=completed", "#/"]) {
    await page.goto("about:blank");
    const begun = Date.now();
    await page.goto(`${stack.url}/${address}`);
    await page.locator("main table tbody tr").first().waitFor();
    times.push(Date.now() - begun);
    assert.ok((await page.locator("*").count()) < 3_000);
  }
  console.log(`10,000 tasks: ${times.join(", ")} ms`);
  await page.show("#/tasks?template=many");
  const first = await page.locator("tbody [data-row]").first().getAttribute("href");
  await page.getByRole("link", { name: "Older" }).click();
  await page.waitForFunction((old) => document.querySelector("tbody [data-row]")?.getAttribute("href") !== old, first);
  await settled(page);
  await page.getByRole("link", { name: "Newest" }).click();
  await page.waitForFunction((old) => document.querySelector("tbody [data-row]")?.getAttribute("href") === old, first);
  page.verify();
  await page.context().close();
});
