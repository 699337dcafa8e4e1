import { describe, expect, test } from "bun:test";
import { recordOutput } from "../../../test/harness/recorded-output.ts";
import { plain } from "./output.ts";
import { startProgress } from "./progress.ts";
import { writeTable } from "./table.ts";

const record = (isTerminal: boolean) =>
  recordOutput({ isTerminal, paint: (style, text) => `<${style}>${text}</>` });

describe("output", () => {
  test("plain() leaves nothing that moves a cursor or turns text around", () => {
    expect(plain("a\x1b[2J\r\nb\u202ec")).toBe("a�[2J��b�c");
  });

  test("writeTable() aligns columns and pads no line's end", () => {
    const { out, text } = record(false);
    writeTable(
      out,
      ["A", "LONG"],
      [
        ["wide cell", "x"],
        ["é", ""],
      ],
    );
    expect(text.stdout).toBe("<bold>A           LONG</>\nwide cell   x\né           -\n");
  });

  test("startProgress() is silent where stderr is no terminal", () => {
    const { out, text } = record(false);
    startProgress(out, () => "pulling")[Symbol.dispose]();
    expect(text).toEqual({ stdout: "", stderr: "" });
  });

  test("startProgress() draws one line on stderr and clears it", () => {
    const { out, text } = record(true);
    startProgress(out, () => "pulling x")[Symbol.dispose]();
    const [before, line, after] = text.stderr.split("\r\x1b[K");
    expect([before, line, after]).toEqual(["", expect.stringMatching(/^. pulling x \d+ ms$/), ""]);
    expect(text.stdout).toBe("");
  });
});
