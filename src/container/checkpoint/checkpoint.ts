import { createWriteStream, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { pipeline } from "node:stream/promises";
import { bundleOf, readConfig } from "../../bundle/bundle.ts";
import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import type { Context } from "../../lib/context.ts";
import { failedPrecondition } from "../../lib/errors.ts";
import type { ContainerId } from "../../lib/id.ts";
import type { RuntimeSpec } from "../../oci/runtime-spec.ts";
import type { CheckpointedStdio } from "../../runtime/runtime.ts";
import { packTar } from "../../snapshot/tar/pack-tar.ts";
import type { Container } from "../container.ts";
import type { ContainerDeps } from "../deps.ts";
import { getRuntime, type TaskDeps, taskOf } from "../runtimes.ts";
import { checkpointMembers } from "./checkpoint-archive.ts";

export type CheckpointDeps = TaskDeps &
  Pick<ContainerDeps, "locks" | "containers" | "checkpointDir" | "snapshots" | "images">;

/**
 * Writes what a running container is at this moment to a new archive at `location`, and lets it go on (CRI
 * CheckpointContainer). Throws `failed-precondition` with the reason where CRIU is not there or cannot.
 */
export async function checkpointContainer(
  ctx: Context,
  deps: CheckpointDeps,
  id: ContainerId,
  options: { readonly location: string; readonly pod: pb.PodSandboxConfig },
): Promise<void> {
  using _lock = await deps.locks.lock(id, ctx.signal);
  const container = deps.containers.get(id);
  if (container.state.name !== "running") {
    throw failedPrecondition(`checkpoint container ${id}: it is ${container.state.name}`);
  }
  const runtime = getRuntime(deps.runtimes, container.handler);
  const at = new Date();
  using work = workDirectory(deps.checkpointDir);
  const stdio = await dump(ctx, deps, container, work.path);
  await writeFile(ctx, `${work.path}/rootfs-diff.tar`, deps.snapshots.readChanges(ctx, id));
  const spec = readConfig(bundleOf(deps.stateDir, id)) as RuntimeSpec;
  const image = deps.images.find(container.imageId);
  const subject = { container, pod: options.pod, image, spec, runtime: runtime.name, at, stdio };
  await writeArchive(ctx, options.location, packTar(checkpointMembers(subject, work.path)));
  ctx.log.info("container checkpointed", { container: id, location: options.location });
}

/** The memory goes to `checkpoint`, the log of what dumps it beside it. */
async function dump(
  ctx: Context,
  deps: TaskDeps,
  container: Container,
  workDir: string,
): Promise<CheckpointedStdio> {
  const { id, config } = container;
  const imageDir = `${workDir}/checkpoint`;
  mkdirSync(imageDir, { mode: 0o700 });
  try {
    const options = { imageDir, workDir, terminal: config.tty };
    return await taskOf(deps, container).checkpoint(ctx, options);
  } catch (cause) {
    throw new Error(`checkpoint container ${id}`, { cause });
  }
}

function workDirectory(parent: string): Disposable & { readonly path: string } {
  mkdirSync(parent, { recursive: true, mode: 0o700 });
  const path = mkdtempSync(`${parent}/checkpoint-`);
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** All of it or nothing; what is there is not overwritten before that. */
async function writeArchive(
  ctx: Context,
  location: string,
  bytes: AsyncIterable<Uint8Array>,
): Promise<void> {
  const temporary = `${location}.${crypto.getRandomValues(new Uint8Array(6)).toHex()}.tmp`;
  try {
    await writeFile(ctx, temporary, bytes);
    renameSync(temporary, location);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw new Error(`write ${location}`, { cause });
  }
}

async function writeFile(
  { signal }: Context,
  path: string,
  bytes: AsyncIterable<Uint8Array>,
): Promise<void> {
  const file = createWriteStream(path, { flags: "wx", mode: 0o600, flush: true });
  await pipeline(bytes, file, { signal });
}
