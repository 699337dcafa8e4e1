import type { ServiceImpl } from "@connectrpc/connect";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import { failedPrecondition, invalidArgument } from "../lib/errors.ts";
import type { CriDeps } from "./deps.ts";
import { checkCommand } from "./request/check-container.ts";
import { checkMessage } from "./request/check-message.ts";
import { getById } from "./request/lookup.ts";

type Methods = Pick<ServiceImpl<typeof pb.RuntimeService>, "exec" | "attach" | "portForward">;

/** Each returns a URL, where the client finds what it asked for. */
export function streamingMethods(
  deps: Pick<CriDeps, "sandboxes" | "containers" | "streaming">,
): Methods {
  const { sandboxes, containers, streaming } = deps;
  return {
    exec(request) {
      checkMessage(pb.ExecRequestSchema, request);
      const argv = checkCommand(request.cmd);
      const wanted = checkStreams(request);
      const { id, state } = getById(containers, "container", request.containerId);
      if (state.name !== "running") {
        throw failedPrecondition(`exec in container ${id}: it is ${state.name}, not running`);
      }
      return { url: streaming.url({ ...wanted, kind: "exec", container: id, argv }) };
    },

    attach(request) {
      checkMessage(pb.AttachRequestSchema, request);
      const wanted = checkStreams(request);
      const { id, state, config } = getById(containers, "container", request.containerId);
      if (state.name === "exited") {
        throw failedPrecondition(`attach to container ${id}: it has ended`);
      }
      if (config.tty !== wanted.terminal) {
        throw invalidArgument(`attach to container ${id}: its tty is ${config.tty}`);
      }
      return { url: streaming.url({ ...wanted, kind: "attach", container: id }) };
    },

    portForward(request) {
      const { id, state } = getById(sandboxes, "sandbox", request.podSandboxId);
      for (const port of request.port) {
        if (port < 1 || port > 65535) throw invalidArgument(`port ${port}`);
      }
      if (state !== "ready") {
        throw failedPrecondition(`forward ports of sandbox ${id}: it is not ready`);
      }
      return { url: streaming.url({ kind: "portforward", sandbox: id }) };
    },
  };
}

/** As the proto demands of both requests: some stream, and no stderr of a terminal. */
function checkStreams(request: pb.ExecRequest | pb.AttachRequest) {
  const { stdin, stdout, stderr, tty: terminal } = request;
  if (!stdin && !stdout && !stderr) {
    throw invalidArgument("one of stdin, stdout and stderr must be set");
  }
  if (terminal && stderr) throw invalidArgument("a terminal has no stderr of its own");
  return { stdin, stdout, stderr, terminal };
}
