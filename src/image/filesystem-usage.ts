import type { Context } from "../lib/context.ts";
import type { LayerStore, Snapshotter, Usage } from "../snapshot/snapshotter.ts";

export interface FilesystemUsage extends Usage {
  /** A directory on that file system. */
  readonly mountpoint: string;
}

/** What images and what containers take (CRI ImageFsInfo): from figures kept for each layer and each writable part. */
export async function filesystemUsage(
  ctx: Context,
  deps: {
    readonly layers: Pick<LayerStore, "listLayers" | "directory">;
    readonly snapshots: Pick<Snapshotter, "list" | "usage">;
  },
): Promise<{ readonly images: FilesystemUsage; readonly containers: FilesystemUsage }> {
  const mountpoint = deps.layers.directory;
  const writable = await Promise.all(
    // One that is removed meanwhile takes nothing.
    deps.snapshots.list().map((id) => deps.snapshots.usage(ctx, id).catch(() => nothing)),
  );
  return {
    images: { mountpoint, ...sum(deps.layers.listLayers()) },
    containers: { mountpoint, ...sum(writable) },
  };
}

const nothing: Usage = { usedBytes: 0, inodes: 0 };

function sum(parts: readonly Usage[]): Usage {
  return parts.reduce<Usage>(
    (total, { usedBytes, inodes }) => ({
      usedBytes: total.usedBytes + usedBytes,
      inodes: total.inodes + inodes,
    }),
    nothing,
  );
}
