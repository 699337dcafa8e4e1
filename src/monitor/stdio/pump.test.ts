import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readFileSync, writeSync } from "node:fs";
import { type TempDir, tempDir } from "../../../test/harness/temp-dir.ts";
import { openPipe, setNonblocking } from "../../os/file/io.ts";
import { Loop } from "../loop.ts";
import { HeldLine } from "./held-line.ts";
import { Journal } from "./journal.ts";
import { LogFile } from "./log-file.ts";
import { Pump, type PumpedOutput } from "./pump.ts";

let dir: TempDir;
let open: DisposableStack;

beforeEach(() => {
  dir = tempDir();
  open = new DisposableStack();
});

afterEach(() => {
  open.dispose();
  dir[Symbol.dispose]();
});

/** A monitor's pump with one pipe, whose other end the test writes to. */
function setUp() {
  const { readEnd, writeEnd } = openPipe();
  open.use(readEnd);
  open.use(writeEnd);
  setNonblocking(readEnd.fd);
  const write = (text: string) => writeSync(writeEnd.fd, text);
  return { readEnd, write, ...monitor(readEnd) };
}

/** Another one, on what the first has left. */
function monitor(source: PumpedOutput["source"]) {
  const loop = open.use(new Loop(() => {}));
  const journal = new Journal(`${dir.path}/journal`);
  const log = open.use(new LogFile(`${dir.path}/0.log`).open());
  const held = open.use(new HeldLine(dir.path, "stdout"));
  const output: PumpedOutput = { container: "ab".repeat(32), stream: "stdout", source, log, held };
  return { journal, pump: new Pump(loop, journal), output, held };
}

const entries = () =>
  readFileSync(`${dir.path}/0.log`, "latin1")
    .split("\n")
    .slice(0, -1)
    .map((line) => line.split(" ").slice(2).join(" "));

describe("Pump writes an entry for each line, however it comes", () => {
  test("byte by byte", () => {
    const { pump, output, write, held } = setUp();
    for (const byte of "one\ntwo words\n\nrest") {
      write(byte);
      pump.turn(output);
    }
    expect(entries()).toEqual(["F one", "F two words", "F "]);
    expect(held.length).toBe(4);
    pump.flush(output);
    expect(entries().at(-1)).toBe("P rest");
    expect(held.length).toBe(0);
  });

  test("in pieces of up to 16 KiB where a line is longer", () => {
    const { pump, output, write } = setUp();
    const line = "x".repeat(40_000);
    for (let at = 0; at < line.length; at += 1000) {
      write(line.slice(at, at + 1000));
      pump.turn(output);
    }
    write("\n");
    pump.turn(output);
    expect(entries().map((entry) => [entry[0], entry.length - 2])).toEqual([
      ["P", 16_384],
      ["P", 16_384],
      ["F", 7232],
    ]);
  });

  test("a line of exactly 16 KiB whose end comes later is one entry", () => {
    const { pump, output, write } = setUp();
    write("x".repeat(16_384));
    pump.turn(output);
    write("\nnext\n");
    pump.turn(output);
    expect(entries().map((entry) => [entry[0], entry.length - 2])).toEqual([
      ["F", 16_384],
      ["F", 4],
    ]);
  });

  test("to clients that are attached each byte goes at once, and once", () => {
    const { pump, output, write } = setUp();
    let seen = "";
    const tapped = {
      ...output,
      tap: (data: Buffer, from: number, to: number) => {
        seen += data.toString("latin1", from, to);
      },
    };
    for (const part of ["pro", "mpt> ", "\nnext"]) {
      write(part);
      pump.turn(tapped);
    }
    expect(seen).toBe("prompt> \nnext");
  });
});

describe("a successor of a killed monitor goes on with", () => {
  test("a line that was held", () => {
    const first = setUp();
    first.write("begin");
    first.pump.turn(first.output);
    const second = monitor(first.readEnd);
    expect(second.journal.recover()).toBeUndefined();
    first.write("ning\n");
    second.pump.turn(second.output);
    expect(entries()).toEqual(["F beginning"]);
  });

  test("what was read upon a held line, wherever the first one was killed", () => {
    const first = setUp();
    first.write("begin");
    first.pump.turn(first.output);
    // In the middle of a turn: the line is in the journal, and still where it was held.
    first.journal.begin(
      first.output.container,
      "stdout",
      first.output.log?.position ?? never(),
      first.held,
    );
    first.write("ning\nrest");
    first.journal.read(first.readEnd.fd, 9);
    const second = monitor(first.readEnd);
    const unfinished = second.journal.recover();
    expect(unfinished?.bytes.toString()).toBe("beginning\nrest");
    second.pump.finish(unfinished ?? never(), second.output);
    expect(entries()).toEqual(["F beginning"]);
    first.write(" of it\n");
    second.pump.turn(second.output);
    expect(entries()).toEqual(["F beginning", "F rest of it"]);
  });

  test("whole lines alone, after which nothing is held", () => {
    const first = setUp();
    first.write("begin");
    first.pump.turn(first.output);
    first.journal.begin(
      first.output.container,
      "stdout",
      first.output.log?.position ?? never(),
      first.held,
    );
    first.write("ning\n");
    first.journal.read(first.readEnd.fd, 5);
    const second = monitor(first.readEnd);
    second.pump.finish(second.journal.recover() ?? never(), second.output);
    const third = monitor(first.readEnd);
    expect([third.journal.recover(), third.held.length]).toEqual([undefined, 0]);
    expect(entries()).toEqual(["F beginning"]);
  });
});

test("where a line cannot be held it is written as it comes, and nothing is lost", () => {
  const { pump, output, write } = setUp();
  const full = { ...output, held: new HeldLine(`${dir.path}/none`, "stdout") };
  write("one\ntw");
  pump.turn(full);
  write("o\n");
  pump.turn(full);
  expect(entries()).toEqual(["F one", "P tw", "F o"]);
});

function never(): never {
  throw new Error("nothing was found");
}
