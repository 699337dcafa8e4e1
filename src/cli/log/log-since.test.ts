import { expect, test } from "bun:test";
import { parseMoment } from "./log-since.ts";

const now = new Date("2026-01-02T12:00:00Z");

test.each([
  ["1767340800", "2026-01-02T08:00:00Z"],
  ["90s", "2026-01-02T11:58:30Z"],
  ["1d2h30m", "2026-01-01T09:30:00Z"],
  ["2026-01-01T08:00:00.5Z", "2026-01-01T08:00:00.5Z"],
  ["2026-01-01T08:00:00+02:00", "2026-01-01T06:00:00Z"],
])("parseMoment(%j)", (text, expected) => {
  expect(parseMoment("--since", text, now)).toBe(Date.parse(expected));
});

test.each(["", "10", "m", "-5m", "5 m", "yesterday", "2026-13-01"])(
  "parseMoment(%j) throws",
  (text) => {
    expect(() => parseMoment("--since", text, now)).toThrow("--since");
  },
);
