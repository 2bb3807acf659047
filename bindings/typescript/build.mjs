// Builds the native part for this machine: node build.mjs [OPTION OF CARGO...]

import { spawnSync } from "node:child_process";
import { copyFileSync, rmSync } from "node:fs";
import process from "node:process";
import { fileURLToPath, URL } from "node:url";

const options = { cwd: fileURLToPath(new URL(".", import.meta.url)), encoding: "utf8", maxBuffer: 2 ** 28 };
const command = ["build", "--locked", "--message-format", "json-render-diagnostics", ...process.argv.slice(2)];
const { error, status, stdout } = spawnSync("cargo", command, { ...options, stdio: ["ignore", "pipe", "inherit"] });
if (error !== undefined) {
  throw error;
}
if (status !== 0) {
  process.exit(status ?? 1);
}
const messages = stdout.split("\n").filter((line) => line.startsWith("{"));
const built = messages.map((line) => JSON.parse(line)).find(({ target }) => target?.name === "tasker_ts");
// The name that src/native.ts loads, and that the packages for one platform have.
const platform = `${process.platform}-${process.arch}${process.platform === "linux" ? "-gnu" : ""}`;
const file = new URL(`native/tasker.${platform}.node`, import.meta.url);
// A new file, because a running process may have loaded the old one.
rmSync(file, { force: true });
copyFileSync(built.filenames[0], file);
