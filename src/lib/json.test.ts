import { expect, test } from "bun:test";
import { asInteger, asList, asString, asStringMap, parseJson } from "./json.ts";

const parse = (text: string | Uint8Array) => parseJson(text, "thing", { maxBytes: 10_000 });

test("parseJson() refuses what is too big, too deep or no UTF-8 JSON", () => {
  expect(() => parse(`"${"x".repeat(10_000)}"`)).toThrow("over the limit");
  expect(() => parse("[".repeat(65) + "]".repeat(65))).toThrow("thing: not valid JSON");
  expect(() => parse(Buffer.from([0x22, 0xff, 0x22]))).toThrow("not valid JSON");
  expect(() => parse("{")).toThrow("not valid JSON");
  expect(() => parse(Buffer.from("\u{feff}{}"))).toThrow("not valid JSON");
  expect(parse(`{"deep in a string": "${"[".repeat(100)}\\""}`)).toBeObject();
});

test("readers name the value that is wrong", () => {
  expect(() => asInteger(2 ** 53, "a.size")).toThrow("a.size: not an integer");
  expect(() => asString(1, "a.name")).toThrow("a.name: not a string");
  expect(() => asList([1], "a.list", asString)).toThrow("a.list[0]: not a string");
  expect(asList(undefined, "a.list", asString)).toEqual([]);
});

test("asStringMap() takes any key for a key", () => {
  const map = asStringMap(parse('{"__proto__": "a", "constructor": "b"}'), "labels");
  expect(Object.entries(map)).toEqual([
    ["__proto__", "a"],
    ["constructor", "b"],
  ]);
  expect(({} as Record<string, unknown>)["a"]).toBeUndefined();
});
