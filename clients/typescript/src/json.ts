/** The only place that knows how JSON text and JavaScript values become each other without losing a digit. */

import { isInteger, LosslessNumber, parse, stringify } from "lossless-json";

/**
 * The value of the JSON text in `inputJson`, `resultJson` or `signalPayloadJson`. Empty text is null.
 *
 * Integers are exact whatever their size: a number within ±(2^53 - 1), a bigint beyond. Other numbers become the nearest
 * double, as everywhere in JavaScript; one that no double is near to, such as 1e400, is a LosslessNumber of the package
 * lossless-json, whose `value` is its text. Of members with the same name the last one counts.
 *
 * @throws SyntaxError - `text` is not JSON.
 */
export function parseJson(text: string): unknown {
  return text === "" ? null : parse(text, null, { parseNumber, onDuplicateKey: ({ newValue }) => newValue });
}

/**
 * The JSON text of a value, without spaces, for `inputJson`, `resultJson` or `signalPayloadJson`. null and undefined are
 * empty text, which the service reads as null.
 *
 * Takes what {@link parseJson} gives and what JSON.stringify takes; a bigint becomes an integer.
 *
 * @throws TypeError - The value is a function or a symbol.
 * @throws RangeError - A number is not finite (JSON.stringify would make it null), or the value contains itself.
 */
export function stringifyJson(value: unknown): string {
  if (value === null || value === undefined) {
    return "";
  }
  const text = stringify(value, null, undefined, [{ test: isNotFinite, stringify: refuse }]);
  if (text === undefined) {
    throw new TypeError(`JSON has no ${typeof value}`);
  }
  return text;
}

function parseNumber(text: string): number | bigint | LosslessNumber {
  const value = Number(text);
  if (isInteger(text)) {
    return Number.isSafeInteger(value) ? value : BigInt(text);
  }
  const tooLarge = !Number.isFinite(value);
  const tooSmall = value === 0 && /[1-9]/.test(text.split(/e/i)[0] ?? "");
  return tooLarge || tooSmall ? new LosslessNumber(text) : value;
}

function isNotFinite(value: unknown): boolean {
  return typeof value === "number" && !Number.isFinite(value);
}

function refuse(value: unknown): never {
  throw new RangeError(`JSON has no ${String(value)}`);
}
