import { expect, test } from "bun:test";
import { parseStrictObject } from "./strict-json.ts";

const limits = { maxBytes: 1 << 20 };
const parse = (json: string) => parseStrictObject(Buffer.from(json), "it", limits);

test.each([
  ['{"a":1,"b":2,"a":3}', "a"],
  ['{"x":[{"a":1},{"a" :1,\n"a"\t:2}]}', "a"],
  ['{"a":1,"\\u0061":2}', "a"],
  ['{"q\\"":1,"q\\"":2}', 'q\\"'],
  ['{"\\\\":1,"\\\\":2}', "\\\\"],
  ['{"":1,"":2}', ""],
])("parseStrictObject() refuses %s", (json, key) => {
  expect(() => parse(json)).toThrow(`it: "${key}" is there twice`);
});

test.each(['{"a":"a","b":["a","a"],"c":{"a":1}}', '{"a":"\\":","b":"{\\"b\\":1","c":{}}'])(
  "parseStrictObject() takes %s",
  (json) => {
    expect(parse(json)).toEqual(JSON.parse(json));
  },
);

test("parseStrictObject() sees what comes after a megabyte", () => {
  const text = "\\n".repeat(500_000);
  expect(() => parse(`{"a":"${text}","b":1,"b":2}`)).toThrow('"b" is there twice');
});
