import { openAttach } from "../../container/exec/attach.ts";
import { type ExecDeps, openExec } from "../../container/exec/exec.ts";
import { failedPrecondition } from "../../lib/errors.ts";
import { PodSockets } from "../../network/inside/pod-sockets.ts";
import { SocketStream } from "../../os/socket/socket-stream.ts";
import type { SandboxDeps } from "../../sandbox/deps.ts";
import { sandboxDirectoryOf } from "../../sandbox/environment/directory.ts";
import { sandboxTaskOf } from "../../sandbox/environment/infra.ts";
import { podNamespaces } from "../../sandbox/environment/namespaces.ts";
import type { StandalonePods } from "../../standalone/pods.ts";
import type { StreamingDeps } from "../../streaming/deps.ts";

/** The operations as the streaming server calls them. */
export function bindStreaming(
  deps: ExecDeps & Pick<SandboxDeps, "sandboxes" | "cgroupDriver">,
  standalone: Pick<StandalonePods, "noteAttached">,
): StreamingDeps {
  return {
    exec: (ctx, id, options) => openExec(ctx, deps, id, options),
    async attach(ctx, id, wanted) {
      const session = await openAttach(ctx, deps, id, wanted);
      standalone.noteAttached(id);
      return session;
    },
    ports(_ctx, id) {
      const sandbox = deps.sandboxes.get(id);
      if (sandbox.state !== "ready") {
        throw failedPrecondition(`forward ports of sandbox ${id}: it is not ready`);
      }
      const task = sandboxTaskOf(deps, sandbox);
      const connect = task?.connect?.bind(task);
      if (connect !== undefined) {
        return {
          connect: async (ctx, port) => SocketStream.connect({ fd: await connect(ctx, port) }),
          [Symbol.dispose]: () => {},
        };
      }
      const { netns } = sandboxDirectoryOf(deps.stateDir, id);
      const hasOwnNetwork = podNamespaces(sandbox.config).net;
      const sockets = new PodSockets(hasOwnNetwork ? netns : undefined);
      return {
        connect: async (ctx, port) =>
          SocketStream.connect({ fd: await sockets.connect(ctx, port) }),
        [Symbol.dispose]: () => sockets[Symbol.dispose](),
      };
    },
  };
}
