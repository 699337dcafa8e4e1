import { openAttach } from "../../container/attach.ts";
import { type ExecDeps, openExec } from "../../container/exec.ts";
import { failedPrecondition } from "../../lib/errors.ts";
import { namespacePath } from "../../network/netns.ts";
import { PodSockets } from "../../network/pod-sockets.ts";
import { SocketStream } from "../../os/socket-stream.ts";
import type { SandboxDeps } from "../../sandbox/deps.ts";
import { sandboxDirectoryOf } from "../../sandbox/directory.ts";
import { podNamespaces } from "../../sandbox/namespaces.ts";
import type { StreamingDeps } from "../../streaming/deps.ts";

/** The operations as the streaming server calls them. */
export function bindStreaming(deps: SandboxDeps & ExecDeps): StreamingDeps {
  return {
    exec: (ctx, id, options) => openExec(ctx, deps, id, options),
    attach: (ctx, id, wanted) => openAttach(ctx, deps, id, wanted),
    ports(_ctx, id) {
      const sandbox = deps.sandboxes.get(id);
      if (sandbox.state !== "ready") {
        throw failedPrecondition(`forward ports of sandbox ${id}: it is not ready`);
      }
      const { namespaces } = sandboxDirectoryOf(deps.stateDir, id);
      const hasOwnNetwork = podNamespaces(sandbox.config).net;
      const sockets = new PodSockets(hasOwnNetwork ? namespacePath(namespaces, "net") : undefined);
      return {
        connect: async (ctx, port) =>
          SocketStream.connect({ fd: await sockets.connect(ctx, port) }),
        [Symbol.dispose]: () => sockets[Symbol.dispose](),
      };
    },
  };
}
