// Makes pictures of the pages, light and dark, from a stack of its own: `npm run pictures -- FOLDER`.
// Without a folder, they go to target/console.

import { mkdir } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { launch, open, Stack, until } from "../tests/support.mjs";

const folder = resolve(process.argv[2] ?? fileURLToPath(new URL("../../target/console", import.meta.url)));
await mkdir(folder, { recursive: true });
const [stack, browser] = await Promise.all([Stack.start(), launch()]);
try {
  const { order, report } = await seed(stack.api);
  const pages = {
    dashboard: "#/",
    tasks: "#/tasks",
    task: `#/tasks/${report}?step=charge_fees`,
    timeline: `#/tasks/${report}?tab=timeline`,
    template: "#/templates/mixed_dag_workflow/complex_dag",
    start: "#/templates/order_fulfillment/business_workflow?tab=start",
    history: `#/tasks/${order}?tab=history`,
    workers: "#/workers",
    queues: "#/queues",
    gates: "#/gates",
    schedules: "#/schedules",
  };
  for (const scheme of ["light", "dark"]) {
    const page = await open(browser, stack.url, { scheme, width: 1440, height: 860 });
    for (const [name, address] of Object.entries(pages)) {
      await page.show(address);
      await page.getByText("Connecting…").waitFor({ state: "hidden" });
      await page.screenshot({ path: `${folder}/${name}-${scheme}.png` });
    }
    await page.context().close();
  }
  console.log(`pictures of ${Object.keys(pages).length} pages in ${folder}`);
} finally {
  await browser.close();
  await stack.stop();
}

/** Tasks as a shop may have them: most are completed, some are blocked, and some run. */
async function seed(api) {
  const order = (method) => ({
    customer: { id: 4711, email: "ada@example.com" },
    items: [{ sku: "TEA-250", quantity: 2, unit_price_cents: 1250 }],
    payment: { method, token: "tok_demo" },
    shipping: {
      address: { street: "1 Analytical Way", city: "London", postal_code: "N1 9GU", country: "GB" },
      method: "standard",
    },
  });
  const step = (name, callable, initialization, ...dependencies) => ({
    name,
    handler: { callable: `faults.${callable}`, initialization },
    dependencies,
    retry: { limit: 3, backoff: "fixed", backoff_base_ms: 300, max_backoff_ms: 300 },
  });
  await api.template(
    "nightly_report",
    [
      step("collect_orders", "sleep", { ms: 700 }),
      step("collect_refunds", "fail_times", { failures: 2 }),
      step("reconcile", "sleep", { ms: 400 }, "collect_orders", "collect_refunds"),
      step("charge_fees", "permanent", {}, "reconcile"),
      step("render_pdf", "sleep", { ms: 500 }, "reconcile"),
      step("mail", "echo", {}, "render_pdf", "charge_fees"),
    ],
    { description: "Collects figures, charges the fees, and mails a report" },
  );
  await api.template("import", [
    step("list_files", "echo", {}),
    ...Array.from({ length: 12 }, (_, index) => step(`load_${index + 1}`, "sleep", { ms: 600_000 }, "list_files")),
    step("merge", "echo", {}, ...Array.from({ length: 12 }, (_, index) => `load_${index + 1}`)),
  ]);
  const customers = ["acme", "globex", "initech", "umbrella"];
  let last;
  for (let index = 0; index < 24; index++) {
    const tags = { customer: customers[index % 4], channel: index % 3 ? "web" : "shop" };
    const method = index % 8 === 5 ? "declined_card" : "credit_card";
    last = await api.post("/v1/tasks", {
      namespace: "order_fulfillment",
      name: "business_workflow",
      context: order(method),
      tags,
    });
  }
  for (let index = 0; index < 3; index++) {
    await api.post("/v1/tasks", { namespace: "mixed_dag_workflow", name: "complex_dag", context: { even_number: 6 } });
  }
  await api.task("import", { bucket: "figures" }, { tags: { customer: "globex" }, priority: 5 });
  await api.request("PUT", "/v1/schedules/nightly", {
    namespace: "faults",
    template: "nightly_report",
    cron: "0 2 * * *",
    timezone: "Europe/Berlin",
  });
  const report = await api.task("nightly_report", { day: "2026-11-24" }, { tags: { customer: "acme" } });
  await api.rest(report.task_uuid);
  await until(
    "all orders are at rest",
    async () => (await api.get("/v1/tasks?namespace=order_fulfillment&status=in_progress")).tasks.length === 0,
  );
  return { order: last.task_uuid, report: report.task_uuid };
}
