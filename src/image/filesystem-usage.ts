import type { IngestStore } from "../content/ingest-store.ts";
import type { KeptBlobs } from "../content/kept-blobs.ts";
import { type Context, withTimeout } from "../lib/context.ts";
import type { LayerStore, Snapshotter, Usage } from "../snapshot/snapshotter.ts";

export interface FilesystemUsage extends Usage {
  /** A directory on that file system. */
  readonly mountpoint: string;
}

/**
 * What images, whole or still coming, and what containers take (CRI ImageFsInfo): from usage kept for each layer and
 * each writable part.
 */
export async function filesystemUsage(
  ctx: Context,
  deps: {
    readonly layers: Pick<LayerStore, "listLayers" | "directory">;
    readonly kept: Pick<KeptBlobs, "list">;
    readonly ingests: Pick<IngestStore, "usage">;
    readonly snapshots: Pick<Snapshotter, "list" | "usage">;
  },
  /** What else is stored with the images. */
  others: readonly Usage[] = [],
): Promise<{ readonly images: FilesystemUsage; readonly containers: FilesystemUsage }> {
  const mountpoint = deps.layers.directory;
  const brief = withTimeout(ctx, measureMs);
  const writable = await Promise.all(
    // One that is removed meanwhile takes nothing. One that takes longer to measure is in the next result.
    deps.snapshots.list().map((id) => deps.snapshots.usage(brief, id).catch(() => nothing)),
  );
  ctx.signal.throwIfAborted();
  const kept = deps.kept.list().map(([, { usedBytes }]) => ({ usedBytes, inodes: 1 }));
  const stored = [...deps.layers.listLayers(), ...kept, deps.ingests.usage(), ...others];
  return {
    images: { mountpoint, ...sum(stored) },
    containers: { mountpoint, ...sum(writable) },
  };
}

/** A kubelet asks with a deadline of two minutes and evicts pods without a result. */
const measureMs = 2_000;

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
