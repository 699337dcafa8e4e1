import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { optionsOf } from "../help.ts";
import { allCommands } from "../table/table.ts";
import { bashCompletion } from "./bash.ts";
import { fishCompletion } from "./fish.ts";
import { manualPages } from "./manual.ts";
import { zshCompletion } from "./zsh.ts";

/** What bash offers for a command line whose last word is being typed. */
function complete(dir: string, words: readonly string[]): readonly string[] {
  writeFileSync(join(dir, "completion"), bashCompletion());
  // In place of the executable: what it prints for names.
  writeFileSync(join(dir, "crib"), '#!/bin/sh\n[ "$2" = names ] && echo "$3:1"\n', { mode: 0o755 });
  const script = [
    "source ./completion",
    `COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}`,
    `_crib; printf '%s\\n' "\${COMPREPLY[@]}"`,
  ].join("\n");
  const { stdout, stderr } = Bun.spawnSync(["bash", "-c", script], {
    cwd: dir,
    env: { PATH: `${dir}:${process.env["PATH"]}` },
  });
  expect(stderr.toString()).toBe("");
  return stdout.toString().split("\n").filter(Boolean);
}

describe("bashCompletion()", () => {
  test.each([
    [
      ["crib", "po"],
      ["pods", "port-forward"],
    ],
    [["crib", "help", "unin"], ["uninstall"]],
    [["crib", "run", "--ent"], ["--entrypoint"]],
    [["crib", "run", "--pull", "al"], ["always"]],
    [["crib", "run", "--pull", "=", "al"], ["always"]],
    [
      ["crib", "ps", "-o", ""],
      ["table", "json"],
    ],
    [["crib", "image", "im"], ["import"]],
    [
      ["crib", "config", ""],
      ["default", "check", "show", "reload"],
    ],
    [["crib", "logs", "-f", ""], ["container:1"]],
    [["crib", "rmi", "image", ":", ""], ["1"]],
    [["crib", "exec", "web", "compl"], ["completion"]],
    [["crib", "image", "import", "-o", "comp"], ["completion"]],
    [["crib", "frob", ""], []],
  ])("offers for %j: %j", (words, expected) => {
    const dir = mkdtempSync(join(tmpdir(), "crib-completion-"));
    try {
      expect(complete(dir, words)).toEqual([...expected]);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});

test("every shell's completion and a manual page have every command and option", () => {
  const [bash, zsh, fish] = [bashCompletion(), zshCompletion(), fishCompletion()];
  const pages = new Map(manualPages().map(({ name, text }) => [name, text]));
  expect(pages.has("crib.1")).toBe(true);
  for (const [name, command] of Object.entries(allCommands)) {
    expect(bash).toContain(`\n    ${name})\n`);
    expect(zsh).toContain(`\n    ${name})\n`);
    expect(fish).toContain(`-xa ${name} -d `);
    const page = pages.get(`crib-${name}.1`) ?? "";
    for (const option of Object.keys(optionsOf(name, command))) {
      for (const text of [bash, zsh]) expect(text).toContain(`--${option}`);
      expect(fish).toContain(`seen_subcommand_from ${name}' -l ${option}`);
      expect(page).toContain(`\\-\\-${option.replaceAll("-", "\\-")}`);
    }
  }
});

test.skipIf(Bun.which("zsh") === null)("zshCompletion() is accepted by zsh", () => {
  const { stderr } = Bun.spawnSync(["zsh", "-n", "-c", zshCompletion()]);
  expect(stderr.toString()).toBe("");
});

test.skipIf(Bun.which("fish") === null)("fishCompletion() is accepted by fish", () => {
  const { stderr } = Bun.spawnSync(["fish", "-n", "-c", fishCompletion()]);
  expect(stderr.toString()).toBe("");
});
