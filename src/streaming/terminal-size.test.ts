import { expect, test } from "bun:test";
import { TerminalSizeParser } from "./terminal-size.ts";

test("TerminalSizeParser reads sizes however they are cut, and returns the last", () => {
  const parser = new TerminalSizeParser();
  expect(parser.push(Buffer.from('{"Width":80,"Hei'))).toBeUndefined();
  expect(parser.push(Buffer.from('ght":24}\n'))).toEqual({ columns: 80, rows: 24 });
  const two = '{"Width":1,"Height":2}{"Width":65535,"Height":0}\n{';
  expect(parser.push(Buffer.from(two))).toEqual({ columns: 65535, rows: 0 });
});

test.each(["x".repeat(300), '{"Width":65536,"Height":1}', '{"Width":-1,"Height":1}', "{}", "[1}"])(
  "TerminalSizeParser refuses %p",
  (text) => {
    expect(() => new TerminalSizeParser().push(Buffer.from(text))).toThrow();
  },
);
