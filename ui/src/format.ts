// Times, durations, numbers and names for people.

import { computed, signal } from "@preact/signals";
import { clockOffset, serverNow } from "./http";
import { zone } from "./preferences";

/** The time by the server's clock. It moves every second. */
export const now = signal(serverNow());
setInterval(() => {
  if (!document.hidden) now.value = serverNow();
}, 1000);
// As soon as the server has said the time: the clock of this machine may be wrong.
clockOffset.subscribe(() => {
  now.value = serverNow();
});

const pad = (value: number, digits = 2): string => String(value).padStart(digits, "0");

/** A date and time with milliseconds, in the zone that the user has chosen. */
export function fullTime(time: string): string {
  const date = new Date(time);
  if (zone.value === "utc") return `${date.toISOString().slice(0, 23).replace("T", " ")} UTC`;
  const minutes = -date.getTimezoneOffset();
  const size = Math.abs(minutes);
  const offset = `${minutes < 0 ? "−" : "+"}${pad(Math.floor(size / 60))}:${pad(size % 60)}`;
  const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  return `${day} ${clock(date)}.${pad(date.getMilliseconds(), 3)} ${offset}`;
}

function clock(date: Date): string {
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

/** The date of today. It changes once a day. */
const today = computed(() => fullTime(new Date(now.value).toISOString()).slice(0, 10));

/** The time of today, or the day and the time. */
export function shortTime(time: string): string {
  const [day = "", rest = ""] = fullTime(time).split(" ");
  const short = rest.slice(0, 8);
  if (day === today.value) return short;
  return day.slice(0, 4) === today.value.slice(0, 4) ? `${day.slice(5)} ${short}` : `${day} ${short.slice(0, 5)}`;
}

/** The time of the day with milliseconds. */
export const exactTime = (time: string): string => fullTime(time).slice(11, 23);

/** A duration in milliseconds, with two units at most. */
export function duration(ms: number): string {
  if (ms < 0) return "0 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const units: [number, string][] = [
    [86_400, "d"],
    [3_600, "h"],
    [60, "min"],
    [1, "s"],
  ];
  const first = units.findIndex(([size]) => seconds >= size);
  const [big = [1, "s"], small] = units.slice(first, first + 2);
  const whole = Math.floor(seconds / big[0]);
  const rest = small ? Math.floor((seconds % big[0]) / small[0]) : 0;
  return rest && small ? `${whole} ${big[1]} ${rest} ${small[1]}` : `${whole} ${big[1]}`;
}

/** The time between two moments. Without an end: until now. */
export function between(start: string | null | undefined, end: string | null | undefined): string {
  if (!start) return "";
  return duration((end ? Date.parse(end) : now.value) - Date.parse(start));
}

/** How long ago, or in how long. */
export function relative(time: string): string {
  const seconds = Math.round((now.value - Date.parse(time)) / 1000);
  if (seconds === 0) return "now";
  const size = Math.abs(seconds) < 60 ? `${Math.abs(seconds)} s` : duration(Math.abs(seconds) * 1000);
  return seconds > 0 ? `${size} ago` : `in ${size}`;
}

const integers = new Intl.NumberFormat("en-US");
export const count = (value: number): string => integers.format(value);

/** A count that the server stops at `limit`. */
export const countUpTo = (value: number, limit: number): string =>
  value >= limit ? `${count(limit - 1)}+` : count(value);

export const plural = (value: number, noun: string): string => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

/** A rate per second. */
export const rate = (value: number): string =>
  value === 0 ? "0" : value < 10 ? value.toFixed(1) : count(Math.round(value));

/** A text that fits into so many characters. */
export function cut(text: string, room: number): string {
  const characters = Array.from(text);
  return characters.length > room ? `${characters.slice(0, room - 1).join("")}…` : text;
}

/** The name of a state as people read it. */
export function stateName(state: string): string {
  const text = state.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function bytes(size: number): string {
  return size < 1024
    ? `${size} B`
    : size < 1024 * 1024
      ? `${(size / 1024).toFixed(1)} KiB`
      : `${(size / 1048576).toFixed(1)} MiB`;
}
