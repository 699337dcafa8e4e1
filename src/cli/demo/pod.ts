import { create } from "@bufbuild/protobuf";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import type { RunConfigs } from "../run/run-config.ts";

export const demoImage = "crib.local/demo:1";
export const demoPort = 8080;
export const greeting = "hello from a pod";

/** A shell that ends at once on SIGTERM, with a web server beside it. */
const script = [
  "trap 'echo asked to stop; exit 0' TERM",
  `echo "${greeting}"`,
  `echo "I am process $$ on $(hostname), user $(id -u), Linux $(uname -r)"`,
  "echo 'and this line goes to stderr' >&2",
  "mkdir -p /tmp/www",
  `echo "${greeting}" >/tmp/www/index.html`,
  `httpd -p ${demoPort} -h /tmp/www`,
  "echo ready",
  "while :; do sleep 1 & wait $!; done",
].join("\n");

/** A pod like a kubelet's: its own network and IPC, a PID namespace for each container. */
export function makeDemoConfigs(logDirectory: string): RunConfigs {
  const { POD, CONTAINER } = pb.NamespaceMode;
  const namespaceOptions = { network: POD, pid: CONTAINER, ipc: POD };
  const sandbox = create(pb.PodSandboxConfigSchema, {
    metadata: { name: "demo", uid: "demo", namespace: "default", attempt: 0 },
    hostname: "demo",
    logDirectory,
    labels: { app: "demo" },
    linux: { securityContext: { namespaceOptions } },
  });
  const container = create(pb.ContainerConfigSchema, {
    metadata: { name: "hello", attempt: 0 },
    image: { image: demoImage, userSpecifiedImage: demoImage },
    command: ["sh", "-c", script],
    logPath: "hello/0.log",
    linux: {
      resources: { memoryLimitInBytes: 64n << 20n },
      securityContext: {
        namespaceOptions,
        seccomp: { profileType: pb.SecurityProfile_ProfileType.RuntimeDefault },
      },
    },
  });
  return { sandbox, container };
}
