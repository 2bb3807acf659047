/** What the tests share: the stack of `with-stack`, and templates. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after } from "node:test";

import { Client, type Handler, type Logger, type Task, Worker, type WorkerOptions } from "@tasker-systems/tasker";

/** How long anything in a test may take, in milliseconds: far longer than it does unless the test fails. */
export const DEADLINE_MS = 60_000;

/** The server's URL. */
export const SERVER = variable("TASKER_TEST_URL");
/** The URL of its database. */
export const DATABASE = variable("TASKER_TEST_DATABASE_URL");

export const client = new Client(SERVER);

function variable(name: string): string {
  const value = process.env[name];
  assert(value !== undefined, `${name} is not set: use \`npm test\``);
  return value;
}

/** Creates a folder that is deleted after the tests. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), "tasker-ts-test-"));
  after(() => {
    rmSync(folder, { recursive: true });
  });
  return folder;
}

/** A namespace with the template `test`. The callables of its steps are `NAMESPACE.STEP`. */
export class Namespace {
  readonly name = `ts_${randomUUID().replaceAll("-", "")}`;
  readonly template = path.join(temporaryFolder(), "test.yaml");

  /** Writes the template, of steps with these fields besides the usual ones. */
  constructor(steps: Record<string, object>) {
    const listed = Object.entries(steps).map(([name, fields]) => ({
      name,
      handler: { callable: this.callable(name) },
      retry: { limit: 1 },
      ...fields,
    }));
    // JSON is YAML.
    const template = { name: "test", namespace_name: this.name, version: "1.0.0", steps: listed };
    writeFileSync(this.template, JSON.stringify(template));
  }

  callable(step: string): string {
    return `${this.name}.${step}`;
  }

  worker(steps: Handler[], options: Partial<WorkerOptions> = {}): Worker {
    return new Worker({ steps, templates: this.template, port: 0, databaseUrl: DATABASE, logger: SILENT, ...options });
  }

  create(context?: object): Promise<string> {
    return client.create(this.name, "test", context);
  }

  /** Runs tasks with a worker, and returns them at rest. */
  async run(steps: Handler[], inputs: object[] = [{}], options?: Partial<WorkerOptions>): Promise<Task[]> {
    const worker = this.worker(steps, options);
    await worker.start();
    try {
      const ids = await Promise.all(inputs.map((input) => this.create(input)));
      return await Promise.all(ids.map((id) => wait(id)));
    } finally {
      await worker.stop();
    }
  }
}

export function wait(taskId: string): Promise<Task> {
  return client.wait(taskId, { signal: AbortSignal.timeout(DEADLINE_MS) });
}

/** Returns the step of this name. */
export function stepOf(task: Task | undefined, name: string): Task["steps"][number] {
  const step = task?.steps.find((candidate) => candidate.name === name);
  assert(step !== undefined, `there is no step ${name}`);
  return step;
}

/** Returns the kind and the message of the error of a step. */
export function errorOf(task: Task | undefined, name: string): [kind: unknown, message: string] {
  const step = stepOf(task, name);
  assert(step.error !== undefined, `step ${name} has no error: ${JSON.stringify(step)}`);
  return [step.error["kind"], step.error["message"] as string];
}

const nothing = (): void => undefined;
export const SILENT: Logger = { error: nothing, warn: nothing, info: nothing, debug: nothing };
