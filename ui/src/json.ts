// JSON whose integers keep all their digits. JavaScript's numbers lose digits beyond 2^53, but results may have them.

type Source = { source?: string };
type RawJson = { rawJSON?: (text: string) => unknown; isRawJSON?: (value: unknown) => boolean };
const raw = JSON as RawJson;

function exact(this: unknown, _key: string, value: unknown, context?: Source): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value) || !context?.source) return value;
  return /^-?\d+$/.test(context.source) ? (raw.rawJSON?.(context.source) ?? value) : value;
}

/** Parses JSON. An integer that a number cannot hold becomes an object that prints as it was. */
export const parse = (text: string): unknown => JSON.parse(text, exact);

/** JSON with line breaks, for people. */
export const pretty = (value: unknown): string => JSON.stringify(value, null, 2);

/** Whether a value has fields. Exact integers are objects for JavaScript, but not for people. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !raw.isRawJSON?.(value);
}

/** Parses what a person typed. */
export function parseInput(text: string): { value: unknown } | { error: string } {
  try {
    return { value: parse(text) };
  } catch (error) {
    return { error: `This is not JSON: ${error instanceof Error ? error.message : String(error)}` };
  }
}
