/** The quickstart works as it is written. */

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

import { DATABASE, DEADLINE_MS, SERVER, temporaryFolder } from "./support.js";

const PACKAGE = path.join(__dirname, "../..");
const exec = promisify(execFile);

/** The files of the README by name, with the test of the handlers. */
function files(): Map<string, string> {
  const text = readFileSync(path.join(PACKAGE, "README.md"), "utf8");
  const found = new Map<string, string>();
  for (const [, name = "", content = ""] of text.matchAll(/as\s+`(\S+?\.(?:m[jt]s|yaml))`.*?```\w+\n(.*?)```/gs)) {
    found.set(name, content);
  }
  const [, testing = ""] = /## Test a handler\n\n```ts\n(.*?)```/s.exec(text) ?? [];
  return found.set("greet.test.mts", testing);
}

void test("the quickstart works", async () => {
  const folder = temporaryFolder();
  mkdirSync(path.join(folder, "templates"));
  for (const [name, content] of files()) {
    writeFileSync(path.join(folder, name), content);
  }
  // What `npm install` would make: the package as it is published, and its dependencies.
  const modules = path.join(folder, "node_modules");
  const installed = path.join(modules, "@tasker-systems/tasker");
  mkdirSync(installed, { recursive: true });
  await exec("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], { cwd: PACKAGE });
  const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz")) ?? "";
  await exec("tar", ["--extract", "--file", tarball, "--strip-components=1", "--directory", installed], {
    cwd: folder,
  });
  for (const dependency of ["@standard-schema", "@types", "lossless-json", "undici-types", "zod"]) {
    symlinkSync(path.join(PACKAGE, "node_modules", dependency), path.join(modules, dependency));
  }
  const tsc = path.join(PACKAGE, "node_modules/typescript/bin/tsc");
  const sources = ["steps.mts", "worker.mts", "greet.test.mts"];
  await exec(process.execPath, [tsc, "--strict", "--types", "node", "--module", "nodenext", ...sources], {
    cwd: folder,
  });

  const options = { cwd: folder, env: { ...process.env, DATABASE_URL: DATABASE, TASKER_URL: SERVER } };
  const worker = spawn(process.execPath, ["worker.mjs"], { ...options, stdio: "inherit" });
  try {
    const deadline = Date.now() + DEADLINE_MS;
    for (;;) {
      const greeted = await exec(process.execPath, ["greet.mjs"], options).catch((error: unknown) => error as Failed);
      if (!greeted.stderr.includes("404")) {
        assert.equal(greeted.stdout, "completed HELLO, ADA\n", greeted.stderr);
        break;
      }
      // The worker stores the template when it starts.
      assert(Date.now() < deadline && worker.exitCode === null, greeted.stderr);
    }
  } finally {
    worker.kill("SIGINT");
  }
  const [code] = (await once(worker, "exit")) as [number | null];
  assert.equal(code, 0);

  const environment = { ...process.env };
  // Otherwise the runner takes it for a child of its own.
  delete environment["NODE_TEST_CONTEXT"];
  const tested = await exec(process.execPath, ["--test", "greet.test.mjs"], { cwd: folder, env: environment });
  assert.match(tested.stdout, /^# pass 1$/m);
});

interface Failed {
  stdout: string;
  stderr: string;
}
