// Forms from JSON Schemas: which field a schema needs, and the value of what was typed. A schema that no field can
// show, such as one with `oneOf`, gets a field for JSON. The server checks the input against the whole schema.

import { isObject, parseInput, pretty } from "./json";

export type Schema = {
  type?: string | string[];
  title?: string;
  description?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  enum?: unknown[];
  default?: unknown;
  examples?: unknown[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  pattern?: string;
  format?: string;
};

export type Kind = "object" | "list" | "choice" | "text" | "integer" | "number" | "text-or-number" | "yes-no" | "json";

const NOT_SHOWN = ["$ref", "oneOf", "anyOf", "allOf", "if", "not", "patternProperties", "prefixItems", "const"];

const SCALARS = ["string", "integer", "number"];
const NUMBER = /^\s*-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?\s*$/;
const INTEGER = /^\s*-?(0|[1-9]\d*)\s*$/;

/** The parts of an object, the required ones first. The stored order of the others is lost. */
export function partsOf({ properties = {}, required = [] }: Schema): [string, Schema][] {
  const rank = (name: string): number => (required.includes(name) ? required.indexOf(name) : required.length);
  return Object.entries(properties).sort(([a], [b]) => rank(a) - rank(b));
}

/** The kind of field for a schema. */
export function kindOf(schema: Schema | undefined): Kind {
  if (!isObject(schema) || NOT_SHOWN.some((name) => name in schema)) return "json";
  if (Array.isArray(schema.enum)) return "choice";
  const types = Array.isArray(schema.type) ? schema.type : [schema.type];
  const named = types.filter((type) => type !== "null");
  if (named.length > 1) return named.every((type) => SCALARS.includes(type ?? "")) ? "text-or-number" : "json";
  switch (named[0]) {
    case "object":
      return isObject(schema.properties) ? "object" : "json";
    case "array":
      return isObject(schema.items) ? "list" : "json";
    case "string":
      return "text";
    case "integer":
      return "integer";
    case "number":
      return "number";
    case "boolean":
      return "yes-no";
    default:
      return isObject(schema.properties) ? "object" : "json";
  }
}

/** What the fields hold: texts, and drafts of the parts of objects and lists. */
export type Draft = string | Draft[] | { [name: string]: Draft };

/** The draft of a new form, with the defaults of the schema. */
export function draftOf(schema: Schema | undefined, value: unknown = schema?.default): Draft {
  switch (kindOf(schema)) {
    case "object": {
      const given = isObject(value) ? value : {};
      const fields = Object.entries(schema?.properties ?? {}).map(
        ([name, part]) => [name, draftOf(part, given[name] ?? part.default)] as const,
      );
      return Object.fromEntries(fields);
    }
    case "list":
      return Array.isArray(value)
        ? value.map((item) => draftOf(schema?.items, item))
        : Array.from({ length: Math.min(schema?.minItems ?? 0, 10) }, () => draftOf(schema?.items));
    case "choice": {
      const index = schema?.enum?.findIndex((choice) => pretty(choice) === pretty(value)) ?? -1;
      return index < 0 ? "" : String(index);
    }
    case "json":
      return value === undefined ? "" : pretty(value);
    default:
      return typeof value === "string" ? value : value === undefined || value === null ? "" : pretty(value);
  }
}

export type Wrong = { pointer: string; message: string };

/** The JSON pointer of a part. */
export const pointerTo = (pointer: string, part: string | number): string =>
  `${pointer}/${String(part).replaceAll("~", "~0").replaceAll("/", "~1")}`;

/**
 * The value of a draft. Fields that are empty and not required are left out: the value is undefined. What cannot be
 * read is added to `wrong`.
 */
export function valueOf(
  schema: Schema | undefined,
  draft: Draft,
  required: boolean,
  wrong: Wrong[],
  pointer = "",
): unknown {
  const fail = (message: string): void => {
    wrong.push({ pointer, message });
  };
  const kind = kindOf(schema);
  if (kind === "object" && typeof draft === "object" && !Array.isArray(draft)) {
    const fields = Object.entries(schema?.properties ?? {}).flatMap(([name, part]) => {
      const needed = schema?.required?.includes(name) ?? false;
      // A required part of an optional object is only missing if the object has other parts.
      const value = valueOf(part, draft[name] ?? "", needed && required, wrong, pointerTo(pointer, name));
      return value === undefined ? [] : [[name, value] as const];
    });
    return fields.length === 0 && !required ? undefined : Object.fromEntries(fields);
  }
  if (kind === "list" && Array.isArray(draft)) {
    if (draft.length === 0 && !required) return undefined;
    return draft.map((item, index) => valueOf(schema?.items, item, true, wrong, pointerTo(pointer, index)));
  }
  const text = typeof draft === "string" ? draft : "";
  if (text.trim() === "" && !(kind === "text" && required && schema?.minLength === undefined)) {
    if (required) fail("This is required.");
    return undefined;
  }
  switch (kind) {
    case "text":
      return text;
    case "choice":
      return schema?.enum?.[Number(text)];
    case "text-or-number":
      if (!NUMBER.test(text)) return text;
      break;
    case "yes-no":
      return text === "true";
    case "integer":
    case "number":
      if (!(kind === "integer" ? INTEGER : NUMBER).test(text)) {
        fail(kind === "integer" ? "This must be a whole number." : "This must be a number.");
        return undefined;
      }
      break;
    default:
  }
  const given = parseInput(text);
  if ("value" in given) return given.value;
  fail(given.error);
  return undefined;
}
