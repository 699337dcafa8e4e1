import { statfsSync } from "node:fs";
import type { AdminDeps } from "../../admin/deps.ts";
import { imagesOf } from "../../container/container.ts";
import { logUsage } from "../../container/log-usage.ts";
import {
  isPaused,
  pauseContainer,
  signalContainer,
  unpauseContainer,
} from "../../container/pause.ts";
import { exportImages } from "../../image/archive/export.ts";
import { importArchive } from "../../image/archive/import.ts";
import { importStream } from "../../image/archive/import-stream.ts";
import { filesystemUsage } from "../../image/filesystem-usage.ts";
import { listLayeredImages, unusedBytes } from "../../image/layered-image.ts";
import { pullImage } from "../../image/pull.ts";
import { tagImage, untagImage } from "../../image/tag.ts";
import { verifyImages } from "../../image/verify.ts";
import { notFound } from "../../lib/errors.ts";
import { parseReference } from "../../oci/reference.ts";
import { type NamedVolume, usersOf } from "../../standalone/volumes.ts";
import type { Domain } from "./bind-cri.ts";

const SIGKILL = 9;

/** The operations as the admin service calls them. */
export function bindAdmin({
  config,
  images,
  profiles,
  deps,
  standalone,
  live,
  activity,
}: Pick<Domain, "config" | "images" | "profiles" | "standalone"> & {
  readonly live: AdminDeps["config"];
  readonly activity: AdminDeps["activity"];
  readonly deps: Domain["deps"];
}): AdminDeps {
  const known = (id: string) => {
    const sandbox = deps.sandboxes.resolve(id);
    if (sandbox === undefined) throw notFound(`pod ${id.slice(0, 64)} not found`);
    return sandbox.id;
  };
  const knownContainer = (id: string) => {
    const container = deps.containers.resolve(id);
    if (container === undefined) throw notFound(`container ${id.slice(0, 64)} not found`);
    return container;
  };
  const withUsers = (volume: NamedVolume) => {
    return { ...volume, usedBy: usersOf(volume, deps.containers.list()).map(({ id }) => id) };
  };
  const registries = config.images.importRegistries;
  return {
    config: live,
    activity,
    importPath: (ctx, path) => importArchive(ctx, images, path, { registries }),
    importStream: (ctx, source) => importStream(ctx, images, source, { registries }),
    exportImages: (ctx, keys, options) => exportImages(ctx, images, keys, options),
    pull: (ctx, name, { credentials, onProgress }) =>
      pullImage(ctx, images, parseReference(name), { auth: credentials, onProgress }),
    verify: (ctx, options) => verifyImages(ctx, images, options),
    standalone: {
      run: (ctx, options) => standalone.run(ctx, options),
      attend: (id) => standalone.attend(known(id)),
      leave: (id) => standalone.leave(known(id)),
      start: (ctx, id, options) => standalone.start(ctx, known(id), options),
      rename: (ctx, id, name) => standalone.rename(ctx, known(id), name),
      restart: (ctx, id, graceMs) => standalone.restart(ctx, known(id), graceMs),
    },
    containers: {
      async signal(ctx, id, signal) {
        const container = knownContainer(id);
        // As docker has it: whoever ends a container by hand does not want it back.
        const isEnd = signal === SIGKILL || signal === container.stopSignal;
        if (isEnd) standalone.noteStop(container.sandboxId);
        await signalContainer(ctx, deps, container.id, signal);
      },
      pause: (ctx, id) => pauseContainer(ctx, deps, knownContainer(id).id),
      unpause: (ctx, id) => unpauseContainer(ctx, deps, knownContainer(id).id),
      listPaused: () =>
        deps.containers.list().flatMap((one) => (isPaused(deps, one) ? [one.id] : [])),
    },
    tag: (nameOrId, name) => tagImage(images, nameOrId, name).repoTags,
    untag: (name) => untagImage(images, name),
    pruneDownloads({ dryRun }) {
      const before = images.ingests.usage().usedBytes;
      if (dryRun) return before;
      images.ingests.removeUnused();
      return before - images.ingests.usage().usedBytes;
    },
    volumes: {
      list: () => deps.volumes.list().map(withUsers),
      create: (name, labels) => withUsers(deps.volumes.create(name, labels)),
      remove: (name) => deps.volumes.remove(name, deps.containers.list()),
    },
    listLayers: (key) => listLayeredImages(images, key),
    async diskUsage(ctx) {
      const usage = await filesystemUsage(ctx, images, [profiles.usage()]);
      const containers = deps.containers.list();
      const { blocks, bavail, bsize } = statfsSync(images.layers.directory);
      return {
        ...usage,
        logs: logUsage(containers),
        reclaimableBytes: unusedBytes(images, new Set(containers.flatMap(imagesOf))),
        imageCount: images.images.list().length,
        containerCount: containers.length,
        filesystemBytes: blocks * bsize,
        filesystemFreeBytes: bavail * bsize,
      };
    },
  };
}
