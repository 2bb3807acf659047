/**
 * JSON text to values and back, without changing a value.
 *
 * Integers that a number cannot hold exactly become `bigint`. The built-in functions do all other texts, because they
 * are ten times as fast.
 */

import { inspect, types } from "node:util";

import { parse as parseExactly, stringify as stringifyExactly } from "lossless-json";

import { HandlerError, PermanentError, RetryableError, Wait } from "./errors.js";

/** Parses JSON text. */
export function parse(text: string): unknown {
  // An integer that a number cannot hold has at least 16 digits.
  return /\d{16}/.test(text) ? parseExactly(text, undefined, parseNumber) : JSON.parse(text);
}

function parseNumber(digits: string): number | bigint {
  const number = Number(digits);
  return Number.isSafeInteger(number) || !/^-?\d+$/.test(digits) ? number : BigInt(digits);
}

/**
 * Returns the JSON text of a value. A property that is undefined is left out, as `JSON.stringify` does.
 *
 * @throws TypeError if JSON cannot hold the value without changing it, such as `NaN`, a `Map` or a `Buffer`.
 */
export function stringify(value: unknown): string {
  let exactly = false as boolean;
  const text = JSON.stringify(value, function (this: unknown, key, item: unknown): unknown {
    // What the value is before its method `toJSON` changes it.
    const original = (this as Record<string, unknown>)[key];
    if (types.isDate(original) && Number.isNaN(original.getTime())) {
      throw new TypeError("an invalid Date is not a JSON value");
    }
    if (ArrayBuffer.isView(original)) {
      throw new TypeError(`a ${original.constructor.name} is not a JSON value; encode it as text, such as base64`);
    }
    switch (typeof item) {
      case "number":
        if (!Number.isFinite(item)) {
          throw new TypeError(`${String(item)} is not a JSON value`);
        }
        exactly ||= isLargeInteger(item);
        return item;
      case "bigint":
        exactly = true;
        return null;
      case "undefined":
        if (Array.isArray(this)) {
          throw new TypeError("undefined in an array is not a JSON value; use null");
        }
        return item;
      case "function":
      case "symbol":
        throw new TypeError(`a ${typeof item} is not a JSON value`);
      case "object":
        if (item !== null && hides(item)) {
          throw new TypeError(`a ${Object.prototype.toString.call(item).slice(8, -1)} is not a JSON value`);
        }
        return item;
      default:
        return item;
    }
  }) as string | undefined;
  if (!exactly) {
    return text ?? "null";
  }
  return stringifyExactly(value, undefined, undefined, [LARGE_INTEGER]) ?? "null";
}

/** Objects of these kinds hold what is no property, so `JSON.stringify` writes `{}`. */
const HIDING = [
  types.isMap,
  types.isSet,
  types.isWeakMap,
  types.isWeakSet,
  types.isPromise,
  types.isNativeError,
  types.isRegExp,
  types.isAnyArrayBuffer,
  types.isGeneratorObject,
] as const;

function hides(value: object): boolean {
  // Most objects are plain.
  return Object.getPrototypeOf(value) !== Object.prototype && HIDING.some((is) => is(value));
}

/**
 * `JSON.stringify` writes 2^63 as 9223372036854776000, which other programs read as that integer. Integers beyond 64 bits
 * are refused, so a larger number has an exponent.
 */
const LARGE_INTEGER = {
  test: (value: unknown): boolean => typeof value === "number" && isLargeInteger(value),
  stringify: (value: unknown): string => {
    const number = value as number;
    return number >= -(2 ** 63) && number < 2 ** 64 ? BigInt(number).toString() : number.toExponential();
  },
};

function isLargeInteger(value: number): boolean {
  return Number.isInteger(value) && !Number.isSafeInteger(value);
}

/** Returns the outcome of a handler that has returned. */
export function encodeResult(result: unknown): string {
  try {
    return `{"result":${stringify(result)}}`;
  } catch (error) {
    const message = `the handler's result is not JSON: ${messageOf(error)}`;
    return encodeError(new PermanentError(message, { kind: "bad_result" }));
  }
}

/** Returns the outcome of a handler that has thrown. Anything can be thrown, and this throws nothing itself. */
export function encodeError(error: unknown): string {
  let permanent = false;
  try {
    permanent = error instanceof PermanentError;
    return error instanceof Wait ? encodeWait(error) : encodeFailure(error);
  } catch {
    // It has a getter that throws, for example.
    return JSON.stringify({ error: { kind: "error", message: "the handler threw what cannot be read", permanent } });
  }
}

function encodeFailure(error: unknown): string {
  const known = error instanceof HandlerError;
  return JSON.stringify({
    error: {
      kind: storable(known ? error.kind : nameOf(error)),
      message: storable(known ? error.message : withCauses(error)),
      permanent: error instanceof PermanentError,
      retry_after_ms: error instanceof RetryableError ? roundedUp(error.retryAfterMs) : undefined,
    },
  });
}

function encodeWait({ delayMs, signal, checkpoint }: Wait): string {
  try {
    return stringify({ wait: { delay_ms: roundedUp(delayMs), signal, checkpoint } });
  } catch (error) {
    const message = `the checkpoint is not JSON: ${messageOf(error)}`;
    return encodeError(new PermanentError(message, { kind: "bad_checkpoint" }));
  }
}

function roundedUp(milliseconds: number | undefined): number | undefined {
  return milliseconds === undefined ? undefined : Math.ceil(milliseconds);
}

/** The name of an error's class. Many classes do not set `name`. */
function nameOf(error: unknown): string {
  if (!isError(error)) {
    return "error";
  }
  return error.name === "Error" ? error.constructor.name : error.name;
}

/** What an error says. Anything can be thrown. */
export function messageOf(error: unknown): string {
  if (isError(error)) {
    return error.message;
  }
  // Most other objects have no text but `[object Object]`.
  return typeof error === "object" && error !== null ? inspect(error) : String(error);
}

/** What an error and its causes say. `fetch`, for example, only says why it failed in the cause. */
function withCauses(error: unknown): string {
  let text = messageOf(error);
  for (let cause = causeOf(error), depth = 0; isError(cause) && depth < 5; cause = causeOf(cause), depth++) {
    // Node throws an AggregateError without a message if it cannot reach any address of a host.
    const inner =
      cause instanceof AggregateError && cause.message === "" ? cause.errors.map(messageOf).join("; ") : cause.message;
    if (!text.includes(inner)) {
      text += `: ${inner}`;
    }
  }
  return text;
}

function causeOf(error: unknown): unknown {
  return isError(error) ? error.cause : undefined;
}

/** Errors of another realm, such as a `node:vm` context, are errors too. */
function isError(error: unknown): error is Error {
  return error instanceof Error || types.isNativeError(error);
}

/** Replaces the characters that JSON text or PostgreSQL cannot hold. Code without types can set any value as text. */
function storable(text: unknown): string {
  const shown = typeof text === "string" ? text : inspect(text);
  return shown.toWellFormed().replaceAll("\0", "\u{fffd}");
}
