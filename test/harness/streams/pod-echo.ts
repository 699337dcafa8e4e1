import { resolve } from "node:path";
import type { SandboxId } from "../../../src/lib/id.ts";
import { sandboxDirectoryOf } from "../../../src/sandbox/environment/directory.ts";
import type { Daemon } from "../daemon.ts";

const echoServerPath = resolve(import.meta.dir, "echo-server.ts");

/** An echo server in a pod's network, as if it ran in a container. Listens when this returns. */
export async function echoInPod(
  daemon: Daemon,
  sandboxId: string,
  port: number,
): Promise<AsyncDisposable> {
  const { netns } = sandboxDirectoryOf(daemon.state, sandboxId as SandboxId);
  const server = Bun.spawn(
    ["nsenter", `--net=${netns}`, process.execPath, echoServerPath, String(port)],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  await server.stdout.getReader().read();
  return {
    async [Symbol.asyncDispose]() {
      server.kill();
      await server.exited;
    },
  };
}
