import type { ServiceImpl } from "@connectrpc/connect";
import * as health from "../gen/grpc/health/v1/health_pb.ts";
import { ImageService, RuntimeService } from "../gen/runtime/v1/api_pb.ts";
import { notFound } from "../lib/errors.ts";
import type { Readiness } from "./call/readiness.ts";

const Status = health.HealthCheckResponse_ServingStatus;
const services = new Set(["", RuntimeService.typeName, ImageService.typeName]);

/** grpc.health.v1: serves while the daemon recovers and stops, when nothing else does. */
export function createHealthService(
  readiness: Pick<Readiness, "state" | "changedFrom">,
): ServiceImpl<typeof health.Health> {
  const current = () => (readiness.state === "ready" ? Status.SERVING : Status.NOT_SERVING);
  return {
    check({ service }) {
      if (!services.has(service))
        throw notFound(`service ${JSON.stringify(service.slice(0, 100))}`);
      return { status: current() };
    },

    /** Ends with the daemon: a watcher must not keep a shutdown waiting. */
    async *watch({ service }, { signal }) {
      for (;;) {
        const { state } = readiness;
        yield { status: services.has(service) ? current() : Status.SERVICE_UNKNOWN };
        if (state === "stopping") return;
        await readiness.changedFrom(state, signal);
      }
    },
  };
}
