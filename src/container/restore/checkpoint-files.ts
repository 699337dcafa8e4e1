import { readdirSync, rmSync } from "node:fs";
import type { ContainerId } from "../../lib/id.ts";
import { ifThere } from "../../os/errno-error.ts";
import type { ContainerDeps } from "../deps.ts";

/*
 * Where the files of a checkpoint are between the creation of a container and its start, when they become its memory.
 */

type Deps = Pick<ContainerDeps, "checkpointDir">;

const prefix = "restore-";

/** Whether an image of this name means a checkpoint archive on the node. */
export function isArchivePath(image: string): boolean {
  return image.startsWith("/");
}

export function checkpointDirectory({ checkpointDir }: Deps, id: ContainerId): string {
  return `${checkpointDir}/${prefix}${id}`;
}

/** Idempotent. */
export function removeCheckpoint(deps: Deps, id: ContainerId): void {
  rmSync(checkpointDirectory(deps, id), { recursive: true, force: true });
}

/** Removes all that is not of a container which waits for its start. */
export function removeOtherCheckpoints(
  { checkpointDir }: Deps,
  isWaiting: (id: string) => boolean,
): void {
  for (const name of ifThere(() => readdirSync(checkpointDir)) ?? []) {
    const id = name.startsWith(prefix) ? name.slice(prefix.length) : "";
    if (!isWaiting(id)) rmSync(`${checkpointDir}/${name}`, { recursive: true, force: true });
  }
}
