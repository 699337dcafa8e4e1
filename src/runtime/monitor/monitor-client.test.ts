import { expect, test } from "bun:test";
import { eventually } from "../../../test/harness/eventually.ts";
import { tempDir } from "../../../test/harness/temp-dir.ts";
import { MonitorClient } from "./monitor-client.ts";
import { protocolVersion } from "./monitor-protocol.ts";

test("MonitorClient.kill() ends whoever listens there, and nobody who only looks like it", async () => {
  using dir = tempDir();
  const path = `${dir.path}/monitor.sock`;
  const listen = `Bun.listen({ unix: ${JSON.stringify(path)}, socket: { data() {} } })`;
  const likeIt = ["monitor", "--dir", dir.path];
  const silent = Bun.spawn([process.execPath, "-e", listen, ...likeIt]);
  const other = Bun.spawn(["sh", "-c", "read line", ...likeIt], { stdin: "pipe" });
  try {
    const closed = Promise.withResolvers<void>();
    const events = { onExit: () => {}, onClose: closed.resolve };
    // Its socket is there a moment before it listens.
    const client = await eventually(() => MonitorClient.connect(path, events));
    const response = client.request({ op: "hello", version: protocolVersion }).catch(String);
    client.kill();
    await silent.exited;
    expect(silent.signalCode).toBe("SIGKILL");
    expect(await response).toContain("the monitor has gone");
    await closed.promise;
    client.kill();
    expect(other.exitCode ?? other.signalCode).toBeNull();
  } finally {
    for (const child of [silent, other]) child.kill();
  }
});
