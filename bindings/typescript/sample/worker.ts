/**
 * The sample worker in TypeScript: runs the steps of the sample workflows, on port 8085.
 *
 * It does what `rust-worker` does, with the same command `health`, options, settings and exit codes.
 */

import path from "node:path";
import { parseArgs } from "node:util";

import { type Logger, StartError, UnhealthyError, Worker } from "@tasker-systems/tasker";

import { steps } from "./handlers.js";

const TEMPLATES = path.join(__dirname, "../../../../crates/tasker-worker-rust/templates");
const PORT = 8085;
const USAGE = `Tasker's sample worker in TypeScript.

Usage: typescript-worker [health] [OPTIONS]

Commands:
  health         check the health of the worker on this machine: exit code 0 if it is healthy, otherwise 1

Options:
  --config FILE  the settings file (TOML)
  --host HOST    the address of the status API
  --port PORT    the port of the status API, ${String(PORT)} by default; 0 takes a free one
  --help         print this text
`;

/** Writes one JSON object for each event to standard error, like Tasker's own programs. */
const logger: Logger = {
  error: (message, fields) => {
    write("ERROR", message, fields);
  },
  warn: (message, fields) => {
    write("WARN", message, fields);
  },
  info: (message, fields) => {
    write("INFO", message, fields);
  },
  debug: (message, fields) => {
    write("DEBUG", message, fields);
  },
};

function write(level: string, message: string, fields: object): void {
  const event = { timestamp: new Date().toISOString(), level, target: "tasker", message, ...fields };
  const text = JSON.stringify(event, (_key, value: unknown) => (value instanceof Error ? value.stack : value));
  process.stderr.write(`${text}\n`);
}

function parseArguments(): { config?: string; host?: string; port?: string; help?: boolean; health: boolean } {
  const options = {
    config: { type: "string" },
    host: { type: "string" },
    port: { type: "string" },
    help: { type: "boolean" },
  } as const;
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    if (positionals.length > 1 || (positionals[0] ?? "health") !== "health") {
      throw new TypeError(`unexpected argument: ${positionals.join(" ")}`);
    }
    if (values.port !== undefined && !(/^\d+$/.test(values.port) && Number(values.port) <= 65535)) {
      throw new TypeError(`--port must be a number up to 65535, but is ${values.port}`);
    }
    return { ...values, health: positionals.length > 0 };
  } catch (error) {
    process.stderr.write(`typescript-worker: ${(error as Error).message}\n\n${USAGE}`);
    process.exit(2);
  }
}

async function main(): Promise<void> {
  const { config, host, port, help, health } = parseArguments();
  if (help === true) {
    process.stdout.write(USAGE);
    return;
  }
  const fallback = process.env["TASKER_WORKER_PORT"] ? undefined : PORT;
  const worker = new Worker({
    templates: process.env["TASKER_SAMPLE_TEMPLATES"] ?? TEMPLATES,
    namespaces: ["faults"],
    steps,
    config,
    host,
    port: port === undefined ? fallback : Number(port),
    logger,
  });
  try {
    await (health ? worker.checkHealth() : worker.run());
  } catch (error) {
    if (error instanceof UnhealthyError) {
      process.stderr.write(`typescript-worker: ${error.message}\n`);
      process.exitCode = 1;
      return;
    }
    if (!(error instanceof StartError)) {
      throw error;
    }
    process.stderr.write(`typescript-worker: ${error.message}\n`);
    process.exitCode = error.exitCode;
  }
}

void main();
