import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import type { PodEvent } from "../sandbox/events/events.ts";
import { contextOf } from "./call/interceptor.ts";
import type { CriDeps } from "./deps.ts";
import { toContainerStatuses } from "./message/container-message.ts";
import { toSandboxStatus } from "./message/sandbox-message.ts";

type Methods = Pick<ServiceImpl<typeof pb.RuntimeService>, "getContainerEvents">;

export function eventMethods({ events, images }: Pick<CriDeps, "events" | "images">): Methods {
  return {
    /** What happens from now on. Ends with an error for a client that does not keep up: it has to list anew. */
    async *getContainerEvents(_request, handler) {
      for await (const event of events.subscribe(contextOf(handler).signal)) {
        yield toEventMessage(event, images);
      }
    },
  };
}

const types = {
  created: pb.ContainerEventType.CONTAINER_CREATED_EVENT,
  started: pb.ContainerEventType.CONTAINER_STARTED_EVENT,
  stopped: pb.ContainerEventType.CONTAINER_STOPPED_EVENT,
  deleted: pb.ContainerEventType.CONTAINER_DELETED_EVENT,
} as const satisfies Record<PodEvent["type"], pb.ContainerEventType>;

/** With the whole pod: an evented PLEG takes it for the pod's status and asks for nothing more. */
function toEventMessage(
  event: PodEvent,
  images: CriDeps["images"],
): MessageInitShape<typeof pb.ContainerEventResponseSchema> {
  return {
    containerId: event.id,
    containerEventType: types[event.type],
    createdAt: event.atNs,
    ...(event.sandbox === undefined
      ? {}
      : { podSandboxStatus: create(pb.PodSandboxStatusSchema, toSandboxStatus(event.sandbox)) }),
    containersStatuses: [...toContainerStatuses(event.containers, (image) => images.find(image))],
  };
}
