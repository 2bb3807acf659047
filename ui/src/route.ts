// The address of the page. It is kept in the fragment, so the server knows only `/`.

import { computed, signal } from "@preact/signals";

export type Route = { path: string[]; query: URLSearchParams };

const hash = signal(location.hash);
addEventListener("hashchange", () => (hash.value = location.hash));

export const route = computed<Route>(() => parse(hash.value));

function parse(text: string): Route {
  const [path = "", query = ""] = text.replace(/^#/, "").split("?", 2);
  const parts = path.split("/").filter(Boolean).map(decode);
  // In the address of a request, dots would lead to another part of the API. Nothing has such a name.
  const leadsAway = parts.some((part) => part === "." || part === "..");
  return { path: leadsAway ? [".."] : parts, query: new URLSearchParams(query) };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export type Query = Record<string, string | null | undefined>;

/** The address of a page, for `href`. Empty fields of the query are left out. */
export function link(path: string[], query: Query = {}): string {
  const given = Object.entries(query).filter((entry): entry is [string, string] => Boolean(entry[1]));
  const text = new URLSearchParams(given).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${text && `?${text}`}`;
}

/** The address of this page with some fields of the query changed. */
export function linkHere(changes: Query): string {
  const { path, query } = route.value;
  return link(path, { ...Object.fromEntries(query), ...changes });
}

/** Goes to an address. With `replace`, the browser's history keeps no entry of the current one. */
export function go(address: string, replace = false): void {
  if (replace) {
    history.replaceState(null, "", address);
    hash.value = location.hash;
  } else {
    location.hash = address;
  }
}

export const taskLink = (id: string, query?: Query): string => link(["tasks", id], query);
export const templateLink = (namespace: string, name: string, version?: string): string =>
  link(["templates", namespace, name], { version });
