import { describe, expect, test } from "bun:test";
import {
  appendFileSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { relative } from "node:path";
import fc from "fast-check";
import { type ReadLogOptions, readLog } from "./log-file.ts";
import { parseLogLine } from "./log-line.ts";
import { logPlaceOf } from "./log-place.ts";

const time = "2026-01-01T00:00:00.000000001Z";
const never = new AbortController().signal;

function tempLog(content: string) {
  const dir = mkdtempSync(`${tmpdir()}/crib-log-`);
  const path = `${dir}/0.log`;
  writeFileSync(path, content);
  return { dir, path, [Symbol.dispose]: () => rmSync(dir, { recursive: true }) };
}

async function readAll(path: string, options: Partial<ReadLogOptions> = {}): Promise<string> {
  let text = "";
  for await (const { content, isPartial } of readLog(logPlaceOf(path, ""), {
    signal: never,
    ...options,
  })) {
    text += Buffer.from(content).toString() + (isPartial ? "" : "\n");
  }
  return text;
}

describe("readLog()", () => {
  test("gives back what was logged, however long the lines are", async () => {
    const pieces = fc.record({ length: fc.nat(40_000), isPartial: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(pieces, { maxLength: 12 }), async (lines) => {
        const body = (length: number) => "x".repeat(length);
        const file = lines.map(
          ({ length, isPartial }) => `${time} stdout ${isPartial ? "P" : "F"} ${body(length)}\n`,
        );
        const logged = lines.map(({ length, isPartial }) => body(length) + (isPartial ? "" : "\n"));
        using log = tempLog(file.join(""));
        expect(await readAll(log.path)).toBe(logged.join(""));
      }),
      { numRuns: 20 },
    );
  });

  test("follows through a rotation to the end, and leaves an unfinished line for later", async () => {
    using log = tempLog(`${time} stdout F one\n${time} stdout F tw`);
    const steps = [
      () => appendFileSync(log.path, "o\n"),
      () => {
        renameSync(log.path, `${log.path}.1`);
        appendFileSync(`${log.path}.1`, `${time} stdout F three\n`);
        writeFileSync(log.path, `${time} stdout F four\n`);
      },
      () => appendFileSync(log.path, `${time} stdout F five\n`),
    ];
    const until = async () => {
      steps.shift()?.();
      return steps.length === 0;
    };
    expect(await readAll(log.path, { until })).toBe("one\ntwo\nthree\nfour\nfive\n");
  });

  test("ends when it is cancelled", async () => {
    using log = tempLog(`${time} stdout F one\n`);
    const cancelling = new AbortController();
    let looks = 0;
    const until = async () => {
      if (++looks === 3) setTimeout(() => cancelling.abort(), 1); // while it waits for more
      return false;
    };
    expect(await readAll(log.path, { signal: cancelling.signal, until })).toBe("one\n");
  });

  test("refuses an endless line and a missing file", async () => {
    using log = tempLog("x".repeat(3 << 20));
    await expect(readAll(log.path)).rejects.toThrow("log line over");
    await expect(readAll(`${log.path}.none`)).rejects.toThrow("no log file");
  });

  test("follows no link out of the pod's log directory, neither at first nor after a rotation", async () => {
    using pod = tempLog(`${time} stdout F mine\n`);
    using other = tempLog(`${time} stdout F secret\n`);
    const links = [
      () => symlinkSync(other.path, pod.path),
      () => symlinkSync(relative(pod.dir, other.path), pod.path),
      () => Bun.spawnSync(["mkfifo", pod.path]),
    ];
    for (const link of links) {
      const steps = [
        () => {
          rmSync(pod.path);
          link();
        },
        () => {},
      ];
      const until = async () => {
        steps.shift()?.();
        return steps.length === 0;
      };
      expect(await readAll(pod.path, { until })).toBe("mine\n");
      await expect(readAll(pod.path)).rejects.toThrow("no log file");
      rmSync(pod.path);
      writeFileSync(pod.path, `${time} stdout F mine\n`);
    }
    symlinkSync(other.dir, `${pod.dir}/container`);
    const path = `${pod.dir}/container/0.log`;
    const inPod = readLog(logPlaceOf(path, `${pod.dir}/`), { signal: never });
    await expect(inPod.next()).rejects.toThrow("no log file");
    expect(await readAll(path)).toBe("secret\n");
  });

  test.each([
    [0, ""],
    [1, "c\n"],
    [2, "b\nc\n"],
    [99, "a\nb\nc\n"],
  ])("with tail %p", async (tail, expected) => {
    using log = tempLog(["a", "b", "c"].map((line) => `${time} stdout F ${line}\n`).join(""));
    expect(await readAll(log.path, { tail })).toBe(expected);
  });
});

describe("parseLogLine()", () => {
  test("takes an empty line, spaces inside, and further tags", () => {
    const parse = (text: string) => parseLogLine(Buffer.from(text)).content.toString();
    expect(parse(`${time} stdout F `)).toBe("");
    expect(parse(`${time} stderr F:x a b `)).toBe("a b ");
  });

  test("refuses what is none", () => {
    for (const line of [
      "",
      "stdout F",
      `${time} stdin F x`,
      `${time} stdout X`,
      `${time} stdoutF`,
    ]) {
      expect(() => parseLogLine(Buffer.from(line))).toThrow("CRI log");
    }
  });
});

describe("readLog() of a log that its monitor rotates", () => {
  const lines = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => `${time} stdout F ${from + i}\n`).join("");
  const numbers = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => `${from + i}\n`).join("");

  test("reads all files, and the last lines across them", async () => {
    using log = tempLog(lines(8, 10));
    writeFileSync(`${log.path}.1`, lines(4, 8));
    writeFileSync(`${log.path}.2`, lines(0, 4));
    expect(await readAll(log.path)).toBe(numbers(0, 10));
    for (let tail = 0; tail <= 11; tail++) {
      expect(await readAll(log.path, { tail })).toBe(numbers(Math.max(0, 10 - tail), 10));
    }
  });

  test("follows through several rotations at once, and says what it has never seen", async () => {
    using log = tempLog(lines(0, 2));
    const steps = [
      () => {
        renameSync(log.path, `${log.path}.3`);
        writeFileSync(`${log.path}.2`, lines(2, 4));
        writeFileSync(`${log.path}.1`, lines(4, 6));
        writeFileSync(log.path, lines(6, 8));
      },
      () => {
        for (const name of [log.path, `${log.path}.1`, `${log.path}.2`, `${log.path}.3`]) {
          rmSync(name);
        }
        writeFileSync(`${log.path}.1`, lines(20, 22));
        writeFileSync(log.path, lines(22, 24));
      },
    ];
    const until = async () => {
      steps.shift()?.();
      return steps.length === 0;
    };
    const missing = "crib: output is missing here: its log was rotated away too fast\n";
    expect(await readAll(log.path, { until })).toBe(`${numbers(0, 8)}${missing}${numbers(20, 24)}`);
  });
});
