import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import type { Context } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";
import type { OwnedFd } from "../../os/file/owned-fd.ts";
import { runChecked } from "../../os/process/command.ts";
import { acceptUnix, listenUnix } from "../../os/socket/unix-socket.ts";
import type { RunscConfig } from "./options.ts";
import type { ShimProgram } from "./shim-program.ts";

const commandMs = 30_000;

/**
 * A connection to a port of a pod that runs in gVisor, whose sockets the node does not see: runsc connects a Unix socket
 * of ours with it, inside, over the pod's own loopback interface. The caller owns what is returned.
 */
export async function connectInGvisor(
  ctx: Context,
  { program, stateDir }: { readonly program: ShimProgram; readonly stateDir: string },
  { binary, root }: RunscConfig,
  target: { readonly id: string; readonly port: number },
): Promise<OwnedFd> {
  const path = `${stateDir}/${randomBytes(8).toString("hex")}.port`;
  using removed = new DisposableStack();
  removed.defer(() => rmSync(path, { force: true }));
  const listener = removed.use(listenUnix(path));
  const state = `${root}/${program.namespace}`;
  const argv = [binary, "--root", state, "port-forward", "--stream", path, target.id];
  await runChecked(ctx, [...argv, String(target.port)], {
    env: { PATH: program.searchPath, LANG: "C.UTF-8" },
    timeoutMs: commandMs,
  });
  const connection = acceptUnix(listener.fd);
  if (connection !== undefined) return connection;
  throw new AppError(`runsc connected nothing with port ${target.port}`, { kind: "unavailable" });
}
