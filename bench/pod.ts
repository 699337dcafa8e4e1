import { create, type MessageInitShape } from "@bufbuild/protobuf";
import * as pb from "../src/gen/runtime/v1/api_pb.ts";
import type { Cri } from "../test/harness/cri.ts";

export interface PodRequest {
  readonly cri: Cri;
  readonly handler: string;
  readonly image: string;
  readonly logDirectory: string;
  /** It sleeps unless told. */
  readonly command?: readonly string[];
  readonly mounts?: readonly MessageInitShape<typeof pb.MountSchema>[];
  /** Of its own unless told. */
  readonly network?: pb.NamespaceMode;
  readonly cgroupParent?: string;
}

export interface StartedPod {
  readonly podSandboxId: string;
  readonly containerId: string;
  /** Milliseconds that each call took. */
  readonly runMs: number;
  readonly createMs: number;
  readonly startMs: number;
}

/** A pod with one container, asked for as a kubelet does: own PID namespace, RuntimeDefault, a memory limit. */
export async function startPod({
  cri,
  handler,
  image,
  logDirectory,
  command = ["sleep", "10000"],
  mounts = [],
  network = pb.NamespaceMode.POD,
  cgroupParent = "/crib-bench",
}: PodRequest): Promise<StartedPod> {
  const securityContext = {
    namespaceOptions: { network, pid: pb.NamespaceMode.CONTAINER },
    seccomp: { profileType: pb.SecurityProfile_ProfileType.RuntimeDefault },
  };
  const uid = crypto.randomUUID();
  const config = create(pb.PodSandboxConfigSchema, {
    metadata: { name: "bench", namespace: "bench", uid },
    hostname: network === pb.NamespaceMode.NODE ? "" : "bench",
    logDirectory,
    linux: { cgroupParent, securityContext },
  });
  const container = create(pb.ContainerConfigSchema, {
    metadata: { name: "main" },
    image: { image },
    command: [...command],
    mounts: [...mounts],
    logPath: `${uid}.log`,
    linux: { resources: { memoryLimitInBytes: 256n << 20n, cpuShares: 100n }, securityContext },
  });
  const began = performance.now();
  const { podSandboxId } = await cri.runtime.runPodSandbox({ config, runtimeHandler: handler });
  const ran = performance.now();
  const { containerId } = await cri.runtime.createContainer({
    podSandboxId,
    config: container,
    sandboxConfig: config,
  });
  const created = performance.now();
  await cri.runtime.startContainer({ containerId });
  const startMs = performance.now() - created;
  return { podSandboxId, containerId, runMs: ran - began, createMs: created - ran, startMs };
}
