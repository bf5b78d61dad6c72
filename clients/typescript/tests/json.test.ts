import assert from "node:assert/strict";
import { test } from "node:test";
import { LosslessNumber } from "lossless-json";
import { parseJson, stringifyJson } from "workflowstore";

test("integers keep every digit, as a number up to 2^53 - 1 and as a bigint beyond", () => {
  for (const [text, value] of [
    ["0", 0],
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
    ["-9007199254740991", Number.MIN_SAFE_INTEGER],
    ["9007199254740992", 2n ** 53n],
    ["9007199254740993", 2n ** 53n + 1n],
    ["-9223372036854775808", -(2n ** 63n)],
    ["18446744073709551615", 2n ** 64n - 1n],
    [`1${"0".repeat(400)}`, 10n ** 400n],
  ] as const) {
    assert.equal(parseJson(text), value);
    assert.equal(stringifyJson(value), text);
  }
});

test("other numbers are doubles, or what keeps the text of those that no double is near to", () => {
  assert.equal(parseJson("0.1"), 0.1);
  assert.equal(parseJson("1.5e3"), 1500);
  assert.equal(parseJson("0e-400"), 0);
  for (const text of ["1e400", "-1e400", "1e-400", "2.5E+999"]) {
    const value = parseJson(text);
    assert.ok(value instanceof LosslessNumber);
    assert.equal(stringifyJson(value), text);
  }
});

test("whole documents go there and back", () => {
  const text = '{"a":[1,9007199254740993,{"b":null}],"c":"\\u0000é😀","d":true,"e":{},"f":[],"g":1e999}';
  assert.equal(stringifyJson(parseJson(text)), text);
});

test("empty text is null, and null and undefined are empty text", () => {
  assert.equal(parseJson(""), null);
  assert.equal(parseJson(" null "), null);
  assert.equal(stringifyJson(null), "");
  assert.equal(stringifyJson(undefined), "");
});

test("of members with one name the last counts, and no name is special", () => {
  assert.deepEqual(parseJson('{"a":1,"a":2}'), { a: 2 });
  const value = parseJson('{"__proto__":{"polluted":1},"constructor":2}');
  assert.equal((value as { polluted?: number }).polluted, undefined);
  assert.equal(stringifyJson(value), '{"__proto__":{"polluted":1},"constructor":2}');
});

test("documents as deep as the service keeps them are read and written", () => {
  const text = `${"[".repeat(500)}${"]".repeat(500)}`;
  assert.equal(stringifyJson(parseJson(text)), text);
});

test("what is not JSON is refused, rather than made null", () => {
  for (const text of ["{", "NaN", "01", "1.", "'a'", "[1,]", '"\n"']) {
    assert.throws(() => parseJson(text), SyntaxError, text);
  }
  for (const value of [Number.NaN, { a: [Number.POSITIVE_INFINITY] }]) {
    assert.throws(() => stringifyJson(value), RangeError);
  }
  assert.throws(() => stringifyJson(() => 1), TypeError);
  const endless: unknown[] = [];
  endless.push(endless);
  assert.throws(() => stringifyJson(endless), RangeError);
});
