import { expect, test } from "bun:test";
import { join } from "node:path";
import { tempDir } from "../../test/harness/temp-dir.ts";
import { check, link } from "../os/libc.ts";
import { openDatagramSocket } from "../os/socket/unix-datagram.ts";
import { notify } from "./notify.ts";

const libc = link({
  bind: { args: ["int", "ptr", "u32"], returns: "int" },
  recv: { args: ["int", "ptr", "u64", "int"], returns: "i64" },
});

/** What arrives at a socket bound to the sockaddr_un name `bytes` when `send` runs. */
function received(bytes: string, send: () => void): string {
  using socket = openDatagramSocket();
  const address = Buffer.concat([Buffer.from([1, 0]), Buffer.from(bytes)]);
  check("bind", () => libc.bind(socket.fd, address, address.byteLength));
  send();
  const message = Buffer.alloc(100);
  const size = check("recv", () => libc.recv(socket.fd, message, message.byteLength, 0));
  return message.toString("utf8", 0, size);
}

test("notify() reaches a path", () => {
  using temp = tempDir();
  const dir = temp.path;
  const path = join(dir, "notify");
  expect(received(`${path}\0`, () => notify(path, "READY=1"))).toBe("READY=1");
});

test("notify() reaches an abstract name", () => {
  const name = `crib-notify-${process.pid}`;
  expect(received(`\0${name}`, () => notify(`@${name}`, "STOPPING=1"))).toBe("STOPPING=1");
});

test("notify() does nothing without a socket and refuses what is no name", () => {
  notify(undefined, "READY=1");
  expect(() => notify("relative", "READY=1")).toThrow("neither a path nor @name");
  expect(() => notify(`/${"x".repeat(200)}`, "READY=1")).toThrow("socket name of 202 bytes");
  expect(() => notify("/nonexistent/notify", "READY=1")).toThrow("ENOENT");
});
