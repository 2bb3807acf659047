// What the browser remembers about this user: theme and time zone.

import { effect, type Signal, signal } from "@preact/signals";

function preference<T extends string>(name: string, values: readonly [T, ...T[]]): Signal<T> {
  const stored = localStorage.getItem(name);
  const preferred = signal<T>(values.find((value) => value === stored) ?? values[0]);
  effect(() => {
    if (preferred.value === values[0]) localStorage.removeItem(name);
    else localStorage.setItem(name, preferred.value);
  });
  return preferred;
}

export const THEMES = ["auto", "light", "dark"] as const;
export const ZONES = ["local", "utc"] as const;
export const theme = preference("tasker-theme", THEMES);
export const zone = preference("tasker-zone", ZONES);

effect(() => {
  document.documentElement.dataset.theme = theme.value;
});
