// Bundles the console into the folder that the server embeds. `--check` compares the committed bundle with a fresh one.

import { readFile, writeFile, mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const ui = fileURLToPath(new URL("..", import.meta.url));
const output = fileURLToPath(new URL("../../crates/tasker-orchestration/ui", import.meta.url));
const LIMIT = 60_000;

const { outputFiles } = await build({
  absWorkingDir: ui,
  entryPoints: [
    { in: "src/main.tsx", out: "app" },
    { in: "src/app.css", out: "app" },
  ],
  outdir: output,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  jsx: "automatic",
  jsxImportSource: "preact",
  write: false,
});
const files = new Map(outputFiles.map((file) => [file.path.slice(output.length + 1), Buffer.from(file.contents)]));
for (const name of ["index.html", "icon.svg"]) files.set(name, await readFile(`${ui}/src/${name}`));

const size = [...files.values()].reduce((sum, file) => sum + gzipSync(file, { level: 9 }).length, 0);
console.log(`${String(files.size)} files, ${(size / 1024).toFixed(1)} KiB with gzip`);
if (size > LIMIT) fail(`the console must stay below ${String(LIMIT)} bytes`);

if (process.argv.includes("--check")) {
  for (const [name, fresh] of files) {
    const committed = await readFile(`${output}/${name}`).catch(() => Buffer.alloc(0));
    if (!committed.equals(fresh)) fail(`${output}/${name} differs from a fresh build: run \`npm run build\``);
  }
} else {
  await mkdir(output, { recursive: true });
  for (const [name, fresh] of files) await writeFile(`${output}/${name}`, fresh);
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
