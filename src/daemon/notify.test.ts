import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { notify } from "./notify.ts";

/** A receiver in another process: Bun has no Unix datagram sockets to listen on. */
async function received(name: string, send: () => void): Promise<string> {
  const script = `
import socket, sys
name = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("\\0" + name[1:] if name[0] == "@" else name)
s.settimeout(10)
print("bound", flush=True)
print(s.recv(100).decode(), flush=True)`;
  const child = Bun.spawn(["python3", "-c", script, name], { stdout: "pipe", stderr: "inherit" });
  try {
    const reader = child.stdout.getReader();
    const decoder = new TextDecoder();
    expect(decoder.decode((await reader.read()).value)).toBe("bound\n");
    send();
    return decoder.decode((await reader.read()).value).trim();
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
}

const python = Bun.which("python3");

test.skipIf(python === null)("notify() reaches a path", async () => {
  const dir = mkdtempSync(join(tmpdir(), "crib-notify-"));
  try {
    const path = join(dir, "notify");
    expect(await received(path, () => notify(path, "READY=1"))).toBe("READY=1");
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test.skipIf(python === null)("notify() reaches an abstract name", async () => {
  const name = `@crib-notify-${process.pid}-${Date.now()}`;
  expect(await received(name, () => notify(name, "STOPPING=1"))).toBe("STOPPING=1");
});

test("notify() does nothing without a socket and refuses what is no name", () => {
  notify(undefined, "READY=1");
  expect(() => notify("relative", "READY=1")).toThrow("neither a path nor @name");
  expect(() => notify(`/${"x".repeat(200)}`, "READY=1")).toThrow("socket name of 202 bytes");
  expect(() => notify("/nonexistent/notify", "READY=1")).toThrow("ENOENT");
});
