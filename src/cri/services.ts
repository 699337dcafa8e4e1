import type { ConnectRouter, ServiceImpl } from "@connectrpc/connect";
import { Health } from "../gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as OldServerReflection } from "../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { ImageService, RuntimeService } from "../gen/runtime/v1/api_pb.ts";
import type { Readiness } from "./call/readiness.ts";
import { checkpointMethods } from "./checkpoint.ts";
import { containerMethods } from "./container.ts";
import type { CriDeps } from "./deps.ts";
import { eventMethods } from "./events.ts";
import { execMethods } from "./exec.ts";
import { createHealthService } from "./health.ts";
import { imageMethods } from "./image.ts";
import { metricsMethods } from "./metrics/metrics.ts";
import { profileMethods } from "./profile.ts";
import { createReflectionService } from "./reflection.ts";
import { sandboxMethods } from "./sandbox.ts";
import { statsMethods } from "./stats.ts";
import { statusMethods } from "./status.ts";
import { streamingMethods } from "./streaming.ts";

/** What is not here returns UNIMPLEMENTED, which kubelets take for "not supported". */
function createRuntimeService(deps: CriDeps): Partial<ServiceImpl<typeof RuntimeService>> {
  return {
    ...statusMethods(deps),
    ...sandboxMethods(deps),
    ...containerMethods(deps),
    ...execMethods(deps),
    ...checkpointMethods(deps),
    ...streamingMethods(deps),
    ...statsMethods(deps),
    ...metricsMethods(deps),
    ...eventMethods(deps),
  };
}

/** Everything that the CRI socket serves. */
export function criRoutes(
  deps: CriDeps,
  readiness: Pick<Readiness, "state" | "changedFrom">,
): (router: ConnectRouter) => void {
  return (router) => {
    router.service(RuntimeService, createRuntimeService(deps));
    router.service(ImageService, { ...imageMethods(deps), ...profileMethods(deps) });
    router.service(Health, createHealthService(readiness));
    router.service(ServerReflection, createReflectionService());
    router.service(OldServerReflection, createReflectionService());
  };
}
