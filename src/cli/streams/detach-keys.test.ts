import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseDetachKeys } from "./detach-keys.ts";

/** What a program gets of these pieces, and whether the person has left after them. */
function typed(keys: string, pieces: readonly string[]) {
  const detach = parseDetachKeys(keys);
  let through = "";
  for (const piece of pieces) {
    const response = detach?.push(Buffer.from(piece, "latin1"));
    through += Buffer.from(response?.through ?? []).toString("latin1");
    if (response?.isDetached) return { through, isDetached: true };
  }
  return { through, isDetached: false };
}

describe("DetachKeys", () => {
  test("find the sequence however it is cut, and keep it from the program", () => {
    for (const pieces of [["ab\x10\x11cd"], ["ab\x10", "\x11"], ["ab", "\x10", "\x11"]]) {
      expect(typed("ctrl-p,ctrl-q", pieces)).toEqual({ through: "ab", isDetached: true });
    }
  });

  test("give the program what only began like it, with the next key", () => {
    expect(typed("ctrl-p,ctrl-q", ["\x10"])).toEqual({ through: "", isDetached: false });
    expect(typed("ctrl-p,ctrl-q", ["\x10", "x"])).toEqual({ through: "\x10x", isDetached: false });
    expect(typed("ctrl-p,ctrl-q", ["\x10\x10\x11"])).toEqual({ through: "\x10", isDetached: true });
    expect(typed("ctrl-],.", ["\x1d."])).toEqual({ through: "", isDetached: true });
  });

  test("lose nothing that is typed", () => {
    const piece = fc.string({ unit: fc.constantFrom("a", "b", "\x10"), maxLength: 6 });
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        const { through, isDetached } = typed("ctrl-p,ctrl-q", [...pieces, "."]);
        expect(isDetached).toBe(false);
        expect(through).toBe(`${pieces.join("")}.`);
      }),
    );
  });

  test("none is no way to leave; what is no key is refused", () => {
    expect(parseDetachKeys("none")).toBeUndefined();
    for (const text of ["", "ctrl-", "ctrl-1", "ab", "a,,b", "ctrl-pq"]) {
      expect(() => parseDetachKeys(text)).toThrow("--detach-keys");
    }
  });
});
