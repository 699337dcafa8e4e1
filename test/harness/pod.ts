import { readFileSync } from "node:fs";
import { create, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import type { Cri } from "./cri.ts";

/** The image that crib carries and every daemon of the tests has. */
export const demoImage = "crib.local/demo:1";

/** The fields of a message, for spreading. */
type Fields<Schema extends GenMessage<Message>> = Omit<
  MessageInitShape<Schema>,
  "$typeName" | "$unknown"
>;

export interface Pod {
  readonly id: string;
  readonly config: pb.PodSandboxConfig;
}

let pods = 0;

/** Runs a pod as a kubelet does: a PID namespace for each container, logs in a directory of its own. */
export async function runPod(
  cri: Cri,
  logDirectory: string,
  config: Fields<typeof pb.PodSandboxConfigSchema> = {},
): Promise<Pod> {
  const name = `pod-${++pods}`;
  const full = create(pb.PodSandboxConfigSchema, {
    metadata: { name, namespace: "test", uid: crypto.randomUUID(), attempt: 0 },
    hostname: name,
    logDirectory: `${logDirectory}/${name}`,
    linux: {
      securityContext: { namespaceOptions: { pid: pb.NamespaceMode.CONTAINER } },
    },
    ...config,
  });
  const { podSandboxId } = await cri.runtime.runPodSandbox({ config: full });
  return { id: podSandboxId, config: full };
}

let containers = 0;

/** Creates and starts a container that runs a shell script. */
export async function startScript(
  cri: Cri,
  pod: Pod,
  script: string,
  config: Fields<typeof pb.ContainerConfigSchema> = {},
): Promise<string> {
  const id = await createScript(cri, pod, script, config);
  await cri.runtime.startContainer({ containerId: id });
  return id;
}

export async function createScript(
  cri: Cri,
  pod: Pod,
  script: string,
  config: Fields<typeof pb.ContainerConfigSchema> = {},
): Promise<string> {
  const name = `container-${++containers}`;
  const full = create(pb.ContainerConfigSchema, {
    metadata: { name, attempt: 0 },
    image: { image: demoImage },
    command: ["/bin/sh", "-c", script],
    logPath: `${name}.log`,
    linux: {
      resources: {},
      securityContext: { namespaceOptions: { pid: pb.NamespaceMode.CONTAINER } },
    },
    ...config,
  });
  const { containerId } = await cri.runtime.createContainer({
    podSandboxId: pod.id,
    config: full,
    sandboxConfig: pod.config,
  });
  return containerId;
}

export async function statusOf(cri: Cri, containerId: string): Promise<pb.ContainerStatus> {
  const { status } = await cri.runtime.containerStatus({ containerId });
  if (status === undefined) throw new Error(`no status of container ${containerId}`);
  return status;
}

/** The bytes of one stream of a CRI log, partial lines joined. Throws at a line that is not in CRI format. */
export function readLog(path: string, stream: "stdout" | "stderr" = "stdout"): string {
  const parts: string[] = [];
  for (const line of readFileSync(path, "latin1").split("\n").slice(0, -1)) {
    const fields =
      /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([PF]) (.*)$/s.exec(
        line,
      );
    if (fields === null) throw new Error(`not a CRI log line: ${line.slice(0, 200)}`);
    if (fields[2] === stream) parts.push((fields[4] ?? "") + (fields[3] === "F" ? "\n" : ""));
  }
  return Buffer.from(parts.join(""), "latin1").toString();
}

/** Throws unless the log holds `line 0` up to `line count-1`, each once and in order. */
export function expectNumberedLines(path: string, count: number): void {
  const lines = readLog(path).split("\n").slice(0, -1);
  for (const [i, line] of lines.entries()) {
    if (line !== `line ${i}`)
      throw new Error(`${path}: ${JSON.stringify(line)} where line ${i} belongs`);
  }
  if (lines.length !== count) throw new Error(`${path}: ${lines.length} lines of ${count}`);
}
