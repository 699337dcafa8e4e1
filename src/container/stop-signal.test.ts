import { expect, test } from "bun:test";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import { parseSignal, stopSignalOf, toCriSignal } from "./stop-signal.ts";

test("parseSignal() reads numbers, names and real-time signals", () => {
  const cases = {
    SIGTERM: 15,
    term: 15,
    "9": 9,
    SIGQUIT: 3,
    "SIGRTMIN+3": 37,
    "SIGRTMAX-14": 50,
    RTMAX: 64,
    SIGCLD: 17,
  };
  for (const [text, signal] of Object.entries(cases)) expect(parseSignal(text)).toBe(signal);
});

test("parseSignal() refuses what is no signal", () => {
  for (const text of [
    "",
    "0",
    "-9",
    "65",
    "33",
    "9; rm",
    "SIGRTMAX+999",
    "SIGRTMAX+1",
    "TOSTRING",
    "constructor",
  ]) {
    expect(() => parseSignal(text)).toThrow("unknown signal");
  }
});

test("stopSignalOf() knows each of CRI's signals by its own name", () => {
  for (const [name, value] of Object.entries(pb.Signal)) {
    if (typeof value !== "number" || value === pb.Signal.RUNTIME_DEFAULT) continue;
    const linux = name.replace("SIG", "").replace("PLUS", "+").replace("MINUS", "-");
    expect(stopSignalOf(value, "SIGKILL")).toBe(parseSignal(linux));
  }
});

test("stopSignalOf() takes the image's signal, and SIGTERM for its nonsense", () => {
  expect(stopSignalOf(pb.Signal.RUNTIME_DEFAULT, "SIGQUIT")).toBe(3);
  expect(stopSignalOf(pb.Signal.RUNTIME_DEFAULT, "9; rm")).toBe(15);
  expect(stopSignalOf(pb.Signal.RUNTIME_DEFAULT, undefined)).toBe(15);
});

test("toCriSignal() names what stopSignalOf() made of a name, for every signal", () => {
  const sameNumber: Readonly<Record<string, string>> = {
    SIGCLD: "SIGCHLD",
    SIGIOT: "SIGABRT",
    SIGPOLL: "SIGIO",
  };
  for (const [name, signal] of Object.entries(pb.Signal)) {
    if (name === "RUNTIME_DEFAULT") continue;
    const usual = pb.Signal[(sameNumber[name] ?? name) as keyof typeof pb.Signal];
    expect([name, toCriSignal(stopSignalOf(signal, undefined))]).toEqual([name, usual]);
  }
  expect(toCriSignal(0)).toBe(pb.Signal.RUNTIME_DEFAULT);
});
