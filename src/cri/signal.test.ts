import { expect, test } from "bun:test";
import { stopSignalOf } from "../container/stop-signal.ts";
import { Signal } from "../gen/runtime/v1/api_pb.ts";
import { toSignal } from "./signal.ts";

test("toSignal() names what stopSignalOf() made of a name, for every signal", () => {
  const sameNumber: Readonly<Record<string, string>> = {
    SIGCLD: "SIGCHLD",
    SIGIOT: "SIGABRT",
    SIGPOLL: "SIGIO",
  };
  for (const [name, signal] of Object.entries(Signal)) {
    if (name === "RUNTIME_DEFAULT") continue;
    const usual = Signal[(sameNumber[name] ?? name) as keyof typeof Signal];
    expect([name, toSignal(stopSignalOf(signal, undefined))]).toEqual([name, usual]);
  }
  expect(toSignal(0)).toBe(Signal.RUNTIME_DEFAULT);
});
