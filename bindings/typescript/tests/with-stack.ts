/**
 * Runs a command with a server on a database of its own: `node with-stack.js COMMAND [ARGUMENT...]`. The command finds
 * their URLs in the environment.
 */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

const BINARIES = process.env["TASKER_BIN_DIR"] ?? path.join(__dirname, "../../../../target/debug");

async function main(): Promise<void> {
  const [command, ...args] = process.argv.slice(2);
  assert(command !== undefined, "there is no command");
  const binary = path.join(BINARIES, "tasker-cli");
  assert(existsSync(binary), `${binary} is missing: run \`cargo build --workspace --bins\`, or set TASKER_BIN_DIR`);
  const folder = await mkdtemp(path.join(tmpdir(), "tasker-ts-"));
  // PostgreSQL runs as another user if the tests run as root.
  await chmod(folder, 0o755);
  const options = ["--json", "--port", "0", "--worker-port", "0", "--data-dir", path.join(folder, "postgresql")];
  const server = spawn(binary, ["dev", ...options], {
    env: { ...process.env, DATABASE_URL: "", RUST_LOG: "error" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const urls = await announced(server.stdout);
    const env = {
      ...process.env,
      TASKER_TEST_URL: urls["orchestration_url"],
      TASKER_TEST_DATABASE_URL: urls["database_url"],
    };
    process.exitCode = await exitCode(spawn(command, args, { env, stdio: "inherit" }));
  } finally {
    server.kill("SIGINT");
    await exitCode(server);
    await rm(folder, { recursive: true });
  }
}

/** Reads the JSON object that `tasker-cli dev` prints when it is ready. */
async function announced(output: NodeJS.ReadableStream): Promise<Record<string, string>> {
  let text = "";
  for await (const chunk of output) {
    text += chunk.toString();
    if (/^}$/m.test(text)) {
      break;
    }
  }
  return JSON.parse(text) as Record<string, string>;
}

function exitCode(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    if (child.exitCode !== null) {
      resolve(child.exitCode);
    }
    child.on("error", reject);
    child.on("exit", (code) => {
      resolve(code ?? 1);
    });
  });
}

void main();
