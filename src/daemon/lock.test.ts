import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lockDirectory } from "./lock.ts";

test("lockDirectory() refuses a second holder, names the first, and ends with it", () => {
  const dir = mkdtempSync(join(tmpdir(), "crib-lock-"));
  const root = join(dir, "a", "root");
  try {
    {
      using _first = lockDirectory(root);
      expect(() => lockDirectory(root)).toThrow(
        `in use by another crib serve (pid ${process.pid})`,
      );
    }
    using _second = lockDirectory(root);
    expect(statSync(join(root, "lock")).mode & 0o777).toBe(0o600);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("lockDirectory() ends when its process is killed, and a child of it does not keep it", async () => {
  const dir = mkdtempSync(join(tmpdir(), "crib-lock-"));
  const script = `
    import { lockDirectory } from ${JSON.stringify(join(import.meta.dir, "lock.ts"))};
    lockDirectory(${JSON.stringify(dir)});
    const child = Bun.spawn(["sleep", "60"]);
    process.stdout.write(String(child.pid) + "\\n");
    setInterval(() => {}, 1000);`;
  const holder = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
  let sleeper = 0;
  try {
    const { value } = await holder.stdout.getReader().read();
    sleeper = Number(new TextDecoder().decode(value));
    expect(sleeper).toBeGreaterThan(0);
    expect(() => lockDirectory(dir)).toThrow(`(pid ${holder.pid})`);
    holder.kill("SIGKILL");
    await holder.exited;
    using _mine = lockDirectory(dir);
  } finally {
    holder.kill("SIGKILL");
    if (sleeper > 0) process.kill(sleeper, "SIGKILL");
    rmSync(dir, { recursive: true });
  }
});
