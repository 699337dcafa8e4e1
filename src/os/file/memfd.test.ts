import { expect, test } from "bun:test";
import { ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { sealedFile } from "./memfd.ts";
import { OwnedFd } from "./owned-fd.ts";

test("sealedFile() can be read and executed, and changed by nobody", async () => {
  using file = sealedFile("true", readFileSync("/bin/true"));
  const path = `/proc/${process.pid}/fd/${file.fd}`;
  expect(readFileSync(path).equals(readFileSync("/bin/true"))).toBe(true);
  expect(() => writeSync(file.fd, "x", 0)).toThrow("EPERM");
  expect(() => ftruncateSync(file.fd, 1)).toThrow("EPERM");
  {
    using again = new OwnedFd(openSync(path, "r+"));
    expect(() => writeSync(again.fd, "x", 0)).toThrow("EPERM");
  }
  expect(await Bun.spawn([path], { stdio: ["ignore", "ignore", "ignore"] }).exited).toBe(0);
});
