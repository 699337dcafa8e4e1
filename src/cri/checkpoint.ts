import type { ServiceImpl } from "@connectrpc/connect";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import { invalidArgument } from "../lib/errors.ts";
import { contextOf } from "./call/interceptor.ts";
import type { CriDeps } from "./deps.ts";
import { checkMessage } from "./request/check-message.ts";
import { fail } from "./request/check-metadata.ts";
import { getById } from "./request/lookup.ts";

type Methods = Pick<ServiceImpl<typeof pb.RuntimeService>, "checkpointContainer">;

const maxTimeoutSeconds = 24n * 24n * 3600n; // setTimeout counts to 2^31 milliseconds
const maxPathLength = 4096;

export function checkpointMethods({ containers }: Pick<CriDeps, "containers">): Methods {
  return {
    async checkpointContainer(request, handler) {
      checkMessage(pb.CheckpointContainerRequestSchema, request);
      const { location, timeout } = request;
      checkLocation(location);
      if (timeout < 0n) throw invalidArgument(`timeout ${timeout}`);
      const seconds = timeout > maxTimeoutSeconds ? maxTimeoutSeconds : timeout;
      const { id } = getById(containers, "container", request.containerId);
      const options = { location, timeoutMs: Number(seconds) * 1000 };
      await containers.checkpoint(contextOf(handler), id, options);
      return {};
    },
  };
}

function checkLocation(location: string): void {
  const isPlain =
    location.startsWith("/") && !location.endsWith("/") && !location.split("/").includes("..");
  if (!isPlain || location.length > maxPathLength) {
    throw fail("location", location, "not the absolute path of a file");
  }
}
