// Writes src/api-types.ts from the OpenAPI document of a server: `npm run types -- http://127.0.0.1:8080`.
// The browser tests compare the committed file with the document of the server that they start.

import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/** The committed file. */
export const TYPES = fileURLToPath(new URL("../src/api-types.ts", import.meta.url));

/** The types of all schemas of an OpenAPI 3.1 document, as TypeScript. */
export function typesOf(document) {
  const schemas = Object.entries(document.components.schemas).sort(([a], [b]) => (a < b ? -1 : 1));
  const types = schemas.map(([name, schema]) => `${comment(schema, "")}export type ${name} = ${type(schema, "")};\n`);
  return `// Made from the OpenAPI document by scripts/types.mjs. Do not edit.\n\n${types.join("\n")}`;
}

function comment({ description }, indent) {
  return description
    ? `${indent}/** ${description.replaceAll("*/", "*∕").replaceAll("\n", `\n${indent} * `)} */\n`
    : "";
}

function type(schema, indent) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  for (const [key, sign] of [
    ["allOf", " & "],
    ["oneOf", " | "],
    ["anyOf", " | "],
  ]) {
    if (schema[key]) return schema[key].map((part) => type(part, indent)).join(sign);
  }
  const kinds = [schema.type ?? "unknown"].flat();
  return kinds.map((kind) => typeOfKind(kind, schema, indent)).join(" | ");
}

function typeOfKind(kind, schema, indent) {
  switch (kind) {
    case "integer":
      return "number";
    case "array": {
      const item = type(schema.items ?? {}, indent);
      return /[|&]/.test(item) ? `(${item})[]` : `${item}[]`;
    }
    case "object":
      return typeOfObject(schema, indent);
    default:
      return kind;
  }
}

function typeOfObject({ properties, required = [], additionalProperties }, indent) {
  if (!properties) return `Record<string, ${type(additionalProperties || {}, indent)}>`;
  const inner = `${indent}  `;
  const fields = Object.entries(properties).map(([name, schema]) => {
    const optional = required.includes(name) ? "" : "?";
    return `${comment(schema, inner)}${inner}${name}${optional}: ${type(schema, inner)};\n`;
  });
  return `{\n${fields.join("")}${indent}}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const server = process.argv[2] ?? "http://127.0.0.1:8080";
  await writeFile(TYPES, typesOf(await (await fetch(`${server}/openapi.json`)).json()));
}
