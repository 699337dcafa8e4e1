import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import type { Container } from "../container/container.ts";
import { Containers } from "../gen/services/containers/v1/containers_pb.ts";
import { Tasks } from "../gen/services/tasks/v1/tasks_pb.ts";
import { Version } from "../gen/services/version/v1/version_pb.ts";
import { type Process, ProcessSchema, Status } from "../gen/types/task/task_pb.ts";
import { failedPrecondition, notFound } from "../lib/errors.ts";

/** The namespace of Kubernetes' containers in containerd, and of all containers here. */
const namespace = "k8s.io";
const namespaceHeader = "containerd-namespace";
const specType = "types.containerd.io/opencontainers/runtime-spec/1/Spec";

/** A container, or the process that holds a pod's PID namespace, which is the pod's sandbox container in containerd. */
export interface CompatContainer {
  readonly id: string;
  readonly sandboxId: string;
  readonly kind: "container" | "sandbox";
  /** As the client of CRI wrote them. */
  readonly labels: Readonly<Record<string, string>>;
  readonly imageName: string;
  readonly createdAtNs: bigint;
  /** Absent while its process is being made. */
  readonly state: Container["state"] | undefined;
}

export interface ContainerdApiDeps {
  readonly version: string;
  /** Waits for one that is being created: cAdvisor looks once, when it sees the cgroup. */
  find(id: string, signal: AbortSignal): Promise<CompatContainer | undefined>;
  /** Its config.json. */
  readSpec(id: string): Uint8Array<ArrayBuffer>;
}

/**
 * What a kubelet's cAdvisor asks containerd for, and nothing else: Version, Containers.Get and Tasks.Get, all of them
 * read-only. By these it knows which cgroup is which container, and gives its series their labels.
 */
export function containerdRoutes(deps: ContainerdApiDeps): (router: ConnectRouter) => void {
  const find = async (id: string, { requestHeader, signal }: HandlerContext) => {
    const asked = requestHeader.get(namespaceHeader);
    if (asked === null) throw failedPrecondition("namespace is required");
    const container = asked === namespace ? await deps.find(id, signal) : undefined;
    if (container === undefined) throw notFound(`container ${id.slice(0, 64)} not found`);
    return container;
  };
  return (router) => {
    router.service(Version, { version: () => ({ version: deps.version, revision: "crib" }) });
    router.service(Containers, {
      async get({ id }, handler) {
        const found = await find(id, handler);
        return {
          container: {
            id: found.id,
            labels: { ...found.labels, "io.cri-containerd.kind": found.kind },
            image: found.imageName,
            spec: { typeUrl: specType, value: deps.readSpec(found.id) },
            createdAt: timestampFromMs(Number(found.createdAtNs / 1_000_000n)),
            sandbox: found.sandboxId,
          },
        };
      },
    });
    router.service(Tasks, {
      async get({ containerId }, handler) {
        const { id, state } = await find(containerId, handler);
        // cAdvisor asks again in a moment.
        if (state === undefined) throw notFound(`container ${id} has no process yet`);
        return { process: toProcess(id, state) };
      },
    });
  };
}

function toProcess(id: string, state: Container["state"]): Process {
  const common = { containerId: id, id };
  switch (state.name) {
    case "created":
      return create(ProcessSchema, { ...common, pid: state.pid, status: Status.CREATED });
    case "running":
      return create(ProcessSchema, { ...common, pid: state.pid, status: Status.RUNNING });
    case "exited":
      return create(ProcessSchema, {
        ...common,
        status: Status.STOPPED,
        exitStatus: state.exitCode,
        exitedAt: timestampFromMs(Number(state.finishedAtNs / 1_000_000n)),
      });
  }
}
