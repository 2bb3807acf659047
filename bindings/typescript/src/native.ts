/** The native part: what `native/lib.rs` exports. */

import { createRequire } from "node:module";

import { messageOf } from "./json.js";

/** A running worker whose handlers are in JavaScript. */
export interface NativeWorker {
  /** The name under which the worker is registered. */
  readonly workerId: string;
  /** The URL of the status API, without a path. */
  readonly url: string;
  /** Waits for events, and returns up to `max` of them. Returns null at the end. */
  next(max: number): Promise<NativeEvent[] | null>;
  /** Returns the outcome of a step, a JSON object. Returns false if there is no such step. */
  complete(id: number, outcome: string): boolean;
  /** Stops the worker gracefully. */
  stop(): Promise<void>;
}

/** Something that the host has to know. */
export interface NativeEvent {
  kind: "step" | "cancelled" | "stopping" | "log";
  /** The attempt, of `step` and `cancelled`. */
  id: number;
  /** A JSON object, of `step` and `log`. */
  json: string;
}

/** Why a worker cannot start. */
export interface StartFailure {
  /** What is wrong and what to do. */
  message: string;
  /** The exit code for a program that stops with this error. */
  exitCode: number;
}

interface Native {
  start: (options: string) => Promise<NativeWorker | StartFailure>;
  checkHealth: (options: string) => Promise<string | null>;
  checkOutcome: (outcome: string) => string;
}

/** Loads what was built here, or else the package for this platform, which npm installs with this one. */
function load(): Native {
  const require = createRequire(__filename);
  const platform = `${process.platform}-${process.arch}${process.platform === "linux" ? "-gnu" : ""}`;
  const reasons: string[] = [];
  for (const name of [`../native/tasker.${platform}.node`, `@tasker-systems/tasker-${platform}`]) {
    try {
      return require(name) as Native;
    } catch (error) {
      reasons.push(messageOf(error).split("\n", 1)[0] ?? "");
    }
  }
  throw new Error(
    `the native part of @tasker-systems/tasker for ${platform} cannot be loaded; ` +
      `install the package again, with optional dependencies: ${reasons.join("; ")}`,
  );
}

export const { start, checkHealth, checkOutcome } = load();
