import type { ServiceImpl } from "@connectrpc/connect";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import { invalidArgument } from "../lib/errors.ts";
import { contextOf } from "./call/interceptor.ts";
import type { CriDeps } from "./deps.ts";
import { checkCommand } from "./request/check-container.ts";
import { checkMessage } from "./request/check-message.ts";
import { getById } from "./request/lookup.ts";

type Methods = Pick<ServiceImpl<typeof pb.RuntimeService>, "execSync">;

const maxTimeoutSeconds = 24n * 24n * 3600n; // setTimeout counts to 2^31 milliseconds

export function execMethods({ containers }: Pick<CriDeps, "containers">): Methods {
  return {
    /** A command's exit code is a result, not an error; only what kept it from running is. */
    async execSync(request, handler) {
      checkMessage(pb.ExecSyncRequestSchema, request);
      const argv = checkCommand(request.cmd);
      if (request.timeout < 0n) throw invalidArgument(`timeout ${request.timeout}`);
      const seconds = request.timeout > maxTimeoutSeconds ? maxTimeoutSeconds : request.timeout;
      const { id } = getById(containers, "container", request.containerId);
      const timeoutMs = Number(seconds) * 1000;
      return await containers.execSync(contextOf(handler), id, { argv, timeoutMs });
    },
  };
}
