import { statfsSync } from "node:fs";
import type { AdminDeps } from "../../admin/deps.ts";
import { imagesOf } from "../../container/container.ts";
import { logUsage } from "../../container/log-usage.ts";
import { exportImages } from "../../image/archive/export.ts";
import { importArchive } from "../../image/archive/import.ts";
import { importStream } from "../../image/archive/import-stream.ts";
import { filesystemUsage } from "../../image/filesystem-usage.ts";
import { listLayeredImages, unusedBytes } from "../../image/layered-image.ts";
import { pullImage } from "../../image/pull.ts";
import { verifyImages } from "../../image/verify.ts";
import { notFound } from "../../lib/errors.ts";
import { parseReference } from "../../oci/reference.ts";
import { type NamedVolume, usersOf } from "../../standalone/volumes.ts";
import type { Domain } from "./bind-cri.ts";

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
  readonly deps: Pick<Domain["deps"], "containers" | "sandboxes" | "volumes">;
}): AdminDeps {
  const known = (id: string) => {
    const sandbox = deps.sandboxes.resolve(id);
    if (sandbox === undefined) throw notFound(`pod ${id.slice(0, 64)} not found`);
    return sandbox.id;
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
      restart: (ctx, id, graceMs) => standalone.restart(ctx, known(id), graceMs),
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
