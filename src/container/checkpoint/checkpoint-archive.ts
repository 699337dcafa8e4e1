import { constants, createReadStream, fstatSync, openSync, readdirSync } from "node:fs";
import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import type { Image } from "../../image/image.ts";
import type { RuntimeSpec } from "../../oci/runtime-spec.ts";
import { ifThere } from "../../os/errno-error.ts";
import { OwnedFd } from "../../os/file/owned-fd.ts";
import type { CheckpointedStdio } from "../../runtime/runtime.ts";
import type { TarMember } from "../../snapshot/tar/pack-tar.ts";
import type { Container } from "../container.ts";
import { findLog } from "../log-path.ts";

/** What is known of a container at the time of its checkpoint. */
export interface CheckpointSubject {
  readonly container: Container;
  readonly pod: pb.PodSandboxConfig;
  readonly image: Image | undefined;
  readonly spec: RuntimeSpec;
  /** Name of the OCI runtime. */
  readonly runtime: string;
  readonly at: Date;
  /** By which names CRIU knows its pipes. */
  readonly stdio: CheckpointedStdio;
}

/**
 * The files of a checkpoint archive as others write it and checkpointctl reads it: the descriptions as JSON, CRIU's
 * images and log, what the container has changed of its root file system, and its log. `dir` holds what was dumped.
 */
export async function* checkpointMembers(
  subject: CheckpointSubject,
  dir: string,
): AsyncGenerator<TarMember> {
  yield json("config.dump", configDump(subject), subject.at);
  yield json("spec.dump", specDump(subject), subject.at);
  const status = statusDump(subject.container);
  for (const name of ["status.dump", "status"]) yield json(name, status, subject.at);
  // Readers look for the directory itself.
  yield { header: { name: "checkpoint/", type: "directory", mode: 0o700, mtime: subject.at } };
  for (const name of readdirSync(`${dir}/checkpoint`).sort()) {
    yield* member(`checkpoint/${name}`, openIfThere(`${dir}/checkpoint/${name}`));
  }
  for (const name of ["dump.log", "stats-dump", "rootfs-diff.tar"]) {
    yield* member(name, openIfThere(`${dir}/${name}`));
  }
  const { logPath, config } = subject.container;
  yield* member("container.log", findLog(logPath, config.logPath));
}

function configDump({ container, image, runtime, at, stdio }: CheckpointSubject) {
  const { config, id } = container;
  return {
    id,
    name: config.metadata?.name ?? "",
    rootfsImage: config.image?.image ?? "",
    rootfsImageRef: image?.repoDigests[0] ?? container.imageId,
    rootfsImageName: config.image?.userSpecifiedImage || (config.image?.image ?? ""),
    runtime,
    createdTime: timeOf(container.createdAtNs),
    checkpointedTime: at.toISOString(),
    restoredTime: "0001-01-01T00:00:00Z",
    restored: false,
    stdio,
  };
}

/** With the annotations that readers look for. */
function specDump({ container, pod, spec }: CheckpointSubject) {
  const { name = "", namespace = "", uid = "" } = pod.metadata ?? {};
  return {
    ...spec,
    annotations: {
      ...spec.annotations,
      "io.kubernetes.cri.container-type": "container",
      "io.kubernetes.cri.container-name": container.config.metadata?.name ?? "",
      "io.kubernetes.cri.image-name": container.config.image?.userSpecifiedImage ?? "",
      "io.kubernetes.cri.sandbox-id": container.sandboxId,
      "io.kubernetes.cri.sandbox-name": name,
      "io.kubernetes.cri.sandbox-namespace": namespace,
      "io.kubernetes.cri.sandbox-uid": uid,
    },
  };
}

function statusDump({ state, createdAtNs }: Container) {
  const startedAtNs = state.name === "running" ? state.startedAtNs : 0n;
  return {
    CreatedAt: Number(createdAtNs),
    StartedAt: Number(startedAtNs),
    FinishedAt: 0,
    ExitCode: 0,
    Pid: state.name === "exited" ? 0 : state.pid,
    Reason: "",
    Message: "",
  };
}

function timeOf(ns: bigint): string {
  return new Date(Number(ns / 1_000_000n)).toISOString();
}

function json(name: string, value: object, mtime: Date): TarMember {
  const bytes = Buffer.from(JSON.stringify(value, undefined, 2));
  return { header: { name, size: bytes.byteLength, mode: 0o600, mtime }, content: once(bytes) };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** A file as it is now, if it is there; what is written to it meanwhile is left out. Closes it. */
function* member(name: string, opened: OwnedFd | undefined): Generator<TarMember> {
  if (opened === undefined) return;
  using file = opened;
  const { size } = fstatSync(file.fd);
  const header = { name, size, mode: 0o600, mtime: new Date() };
  if (size === 0) yield { header };
  else yield { header, content: createReadStream(`/proc/self/fd/${file.fd}`, { end: size - 1 }) };
}

function openIfThere(path: string): OwnedFd | undefined {
  return ifThere(() => new OwnedFd(openSync(path, constants.O_RDONLY)));
}
