// Who uses the page, and what they may do.

import { effect, signal } from "@preact/signals";
import { ApiError, denials, get, key, refused } from "./http";
import type { Whoami } from "./api-types";

export type Scope = "read" | "submit" | "operate";

export type Session =
  | { state: "starting" }
  | { state: "unreachable"; error: ApiError }
  | { state: "login"; reason: string }
  | { state: "open"; me: Whoami };

export const session = signal<Session>({ state: "starting" });

/** Whether the user may do this. */
export function may(scope: Scope): boolean {
  return session.value.state === "open" && session.value.me.scopes.includes(scope);
}

/** Asks the server who we are. */
export async function identify(): Promise<void> {
  try {
    const me = await get<Whoami>("/v1/whoami");
    refused.value = null;
    session.value = { state: "open", me };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    session.value =
      error.status === 401 ? { state: "login", reason: refused.value ?? "" } : { state: "unreachable", error };
  }
}

// A key that the server refuses later, such as a token that has expired, ends the session.
effect(() => {
  if (key.value === null && refused.value !== null && session.peek().state === "open") {
    session.value = { state: "login", reason: refused.value };
  }
});

// Somebody may have taken scopes away from the key.
effect(() => {
  if (denials.value > 0) void identify();
});
