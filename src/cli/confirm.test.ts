import { describe, expect, test } from "bun:test";
import { testEnv } from "../../test/harness/command-line.ts";
import { confirm } from "./confirm.ts";
import type { Input } from "./input.ts";

function terminal(read: Input["read"]): Input {
  return { isTerminal: true, read, takeKeys: () => ({ [Symbol.dispose]: () => {} }) };
}

describe("confirm()", () => {
  test.each([
    ["y\n", true],
    ["YES\n", true],
    ["\n", false],
    ["no\n", false],
  ])("takes %j for %p", async (typed, answer) => {
    const { env } = testEnv();
    const input = terminal(async () => Buffer.from(typed));
    expect(await confirm({ ...env, input }, "All goes.")).toBe(answer);
  });

  test("waits no longer than until Ctrl-C", async () => {
    const interrupt = new AbortController();
    const { env } = testEnv({ interrupt: interrupt.signal });
    const input = terminal(() => Promise.withResolvers<Uint8Array>().promise);
    const asked = confirm({ ...env, input }, "All goes.");
    interrupt.abort();
    await expect(asked).rejects.toThrow("aborted");
  });

  test("is a usage error where nobody can be asked", async () => {
    await expect(confirm(testEnv().env, "All goes.")).rejects.toThrow("give --yes");
  });
});
