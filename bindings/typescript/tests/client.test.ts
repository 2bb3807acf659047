/** The client against a real server and its OpenAPI document. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";

import { ApiError, Client, step } from "@tasker-systems/tasker";

import { client, Namespace, SERVER, stepOf, wait } from "./support.js";

interface Schema {
  $ref?: string;
  properties?: Record<string, Schema>;
  allOf?: Schema[];
  oneOf?: (Schema & { type?: string })[];
}

interface Operation {
  parameters?: { name: string }[];
  requestBody?: { content: Record<string, { schema: Schema }> };
}

interface Document {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
}

void test("the client fits the document of the API", async () => {
  const document = (await (await fetch(`${SERVER}/openapi.json`)).json()) as Document;
  const properties = (schema: Schema | undefined): string[] => {
    if (schema?.$ref !== undefined) {
      return properties(document.components.schemas[schema.$ref.split("/").at(-1) ?? ""]);
    }
    const parts = [...(schema?.allOf ?? []), ...(schema?.oneOf ?? [])];
    return [...Object.keys(schema?.properties ?? {}), ...parts.flatMap(properties)];
  };
  const contains = (all: string[], some: string[]): void => {
    const missing = some.filter((name) => !all.includes(name));
    assert.deepEqual(missing, []);
  };
  const body = (path: string): string[] =>
    properties(document.paths[path]?.["post"]?.requestBody?.content["application/json"]?.schema);
  const sent = ["namespace", "name", "version", "context", "idempotency_key", "priority", "tags"];
  contains(body("/v1/tasks"), sent);
  contains(body("/v1/tasks/{task_uuid}/cancel"), ["reason"]);
  const get = document.paths["/v1/tasks/{task_uuid}"]?.["get"];
  contains(get?.parameters?.map(({ name }) => name) ?? [], ["wait"]);
  const { schemas } = document.components;
  const task = ["task_uuid", "namespace", "name", "version", "status", "created_at", "context", "steps"];
  contains(properties(schemas["TaskDetail"]), task);
  contains(properties(schemas["StepDetail"]), ["name", "status", "attempts", "result", "error"]);
});

void test("tasks are created once and cancelled", async () => {
  const options = { idempotencyKey: randomUUID(), priority: 1, tags: ["ts"] };
  const create = (): Promise<string> =>
    client.create("linear_workflow", "mathematical_sequence", { even_number: 6 }, options);
  const taskId = await create();
  assert.equal(await create(), taskId);
  const task = await wait(taskId);
  assert.equal(task.status, "completed");
  assert.deepEqual(task.context, { even_number: 6 });
  assert(Math.abs(task.createdAt.getTime() - Date.now()) < 60_000);
  assert.deepEqual(stepOf(task, "linear_step_4").result, { value: 2821109907456 });
  await assert.rejects(client.cancel(taskId, { reason: "too late" }), (error) => {
    assert(error instanceof ApiError);
    assert.deepEqual([error.status, error.problem["status"]], [409, 409]);
    return true;
  });
});

void test("errors say what is wrong", async () => {
  const unknown = randomUUID();
  await assert.rejects(client.get(unknown), new RegExp(`GET ${SERVER}/v1/tasks/${unknown}: 404 `));
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;
  listener.close();
  await once(listener, "close");
  const nobody = new Client(`http://127.0.0.1:${String(port)}`);
  await assert.rejects(nobody.get(unknown), /no response: connect ECONNREFUSED/);
  for (const url of ["localhost:8080", "http://", "http://a b", "http://ada:secret@host", "ftp://host"]) {
    assert.throws(() => new Client(url), /is not the URL of a server/, url);
  }
  await assert.rejects(client.create("a", "b", { number: NaN }), { name: "TypeError", message: /must be JSON: NaN/ });
});

void test("a wait ends with its signal", async () => {
  const namespace = new Namespace({ noop: {} });
  // The worker stores the template.
  await namespace.run([step(namespace.callable("noop"), () => null)], []);
  const taskId = await namespace.create();
  await assert.rejects(client.wait(taskId, { signal: AbortSignal.timeout(100) }), { name: "TimeoutError" });
});
