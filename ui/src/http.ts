// Requests to the API, under the key of the session.

import { signal } from "@preact/signals";
import { parse } from "./json";
import type { FieldError, Problem } from "./api-types";

const STORED = "tasker-key";

/** Whether a text can be a key or a token. A header cannot hold other signs, such as invisible ones. */
export const isKey = (text: string): boolean => /^[\x21-\x7e]+$/.test(text);

function storedKey(): string | null {
  const stored = sessionStorage.getItem(STORED);
  return stored !== null && isKey(stored) ? stored : null;
}

/** The key or token of this tab. It is never in an address, and the browser forgets it with the tab. */
export const key = signal<string | null>(storedKey());

export function setKey(value: string | null): void {
  if (value === null) sessionStorage.removeItem(STORED);
  else sessionStorage.setItem(STORED, value);
  key.value = value;
}

/** The server has refused the key. */
export const refused = signal<string | null>(null);

/** How many requests the key was not allowed to send. */
export const denials = signal(0);

/** The server's clock minus this machine's, in milliseconds. Small differences count as none. */
export const clockOffset = signal(0);

/** The time by the server's clock, in milliseconds. */
export const serverNow = (): number => Date.now() + clockOffset.peek();

/** A response that is not a success, or no response. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status = 0,
    readonly kind = "",
    readonly fields: FieldError[] = [],
  ) {
    super(message);
  }
}

/** An error of any kind as an error that a page can show. */
export const asApiError = (error: unknown): ApiError =>
  error instanceof ApiError ? error : new ApiError(error instanceof Error ? error.message : String(error));

/** Whether the same request may succeed later: the server, its database or a proxy does not respond. */
export const isPassing = ({ status }: ApiError): boolean => status === 0 || status === 429 || status >= 500;

export type Query = Record<string, string | number | boolean | null | undefined>;
/** With `limit: false`, the response may take as long as it likes. */
export type Options = { query?: Query; body?: unknown; signal?: AbortSignal; limit?: false };

/** A server that is stopped or cut off may take a request and never respond. */
const LIMIT_MS = 20_000;

/** Ends a request that takes too long, with an error that a page can show. */
function timeLimit(method: string): AbortSignal {
  const control = new AbortController();
  const doubt = method === "GET" ? "" : " It may still do what you asked. Look before you ask again.";
  setTimeout(() => {
    control.abort(new ApiError(`The server has not responded for ${LIMIT_MS / 1000} s.${doubt}`));
  }, LIMIT_MS);
  return control.signal;
}

/** The path and query of a request. Empty fields of the query are left out. */
export function address(path: string, query: Query = {}): string {
  const given = Object.entries(query).flatMap(([name, value]) =>
    value === undefined || value === null || value === "" ? [] : [[name, String(value)]],
  );
  return given.length ? `${path}?${new URLSearchParams(given).toString()}` : path;
}

/** Sends a request and returns the response as it is. */
export async function send(method: string, path: string, options: Options = {}): Promise<Response> {
  const headers = new Headers();
  const used = key.value;
  if (used !== null) headers.set("authorization", `Bearer ${used}`);
  if (method !== "GET") headers.set("content-type", "application/json");
  const init: RequestInit = { method, headers, credentials: "omit", redirect: "error" };
  const ends = [options.signal, options.limit === false ? undefined : timeLimit(method)];
  init.signal = AbortSignal.any(ends.filter((end) => end !== undefined));
  if (method !== "GET") init.body = JSON.stringify(options.body ?? {});
  let response;
  try {
    response = await fetch(address(path, options.query), init);
  } catch (error) {
    if (error instanceof ApiError || (error instanceof DOMException && error.name === "AbortError")) throw error;
    throw new ApiError("The server does not respond. Is it running?");
  }
  const date = Date.parse(response.headers.get("date") ?? "");
  if (date && Math.abs(date - serverNow()) > 2000) clockOffset.value = date - Date.now();
  if (response.ok) return response;
  const error = await failure(response);
  if (error.status === 403) denials.value++;
  if (error.status === 401 && key.value === used) {
    refused.value = used === null ? "" : error.message;
    setKey(null);
  }
  throw error;
}

async function failure(response: Response): Promise<ApiError> {
  const text = await response.text();
  try {
    const { detail, type, errors } = JSON.parse(text) as Problem;
    return new ApiError(detail, response.status, type, errors ?? []);
  } catch {
    return new ApiError(`The server responded with status ${response.status}.`, response.status);
  }
}

/** Sends a request and returns the JSON of the response. */
export async function request<T>(method: string, path: string, options: Options = {}): Promise<T> {
  const text = await (await send(method, path, options)).text();
  try {
    return parse(text) as T;
  } catch {
    throw new ApiError("The response is not JSON. It may come from a proxy before the server.");
  }
}

export const get = <T>(path: string, options?: Options): Promise<T> => request<T>("GET", path, options);

/** A path below /v1, with each part encoded. */
export const v1 = (...parts: string[]): string => `/v1/${parts.map(encodeURIComponent).join("/")}`;

/** A shell command that sends the same request. The key is a variable, so that it does not reach the history. */
export function curl(method: string, path: string, body?: unknown): string {
  const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
  const lines = [`curl --request ${method} ${quote(location.origin + path)}`];
  if (key.value !== null) lines.push(`--header "Authorization: Bearer $TASKER_API_KEY"`);
  if (body !== undefined)
    lines.push(`--header 'Content-Type: application/json'`, `--data ${quote(JSON.stringify(body))}`);
  return lines.join(" \\\n  ");
}
