import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Context } from "../lib/context.ts";
import { describe, failedPrecondition, invalidArgument, notFound } from "../lib/errors.ts";
import { asArray, asString, parseJson } from "../lib/json.ts";
import { type ChainId, chainIdsOf, parseChainId } from "../oci/chain-id.ts";
import { type Digest, parseDigest } from "../oci/digest.ts";
import { type IdRange, type PodIds, toHostId, type UserNamespace } from "../oci/pod-ids.ts";
import { isErrno } from "../os/errno-error.ts";
import { MNT_DETACH, UMOUNT_NOFOLLOW, umount } from "../os/mount/mount.ts";
import { type UnpackArgv, unpackArgv } from "./child/unpack-child.ts";
import { copyTree } from "./copy-tree.ts";
import { readChanges } from "./layer/changes.ts";
import { type LayerLimits, layerLimits } from "./layer/layer-report.ts";
import { Layers, type LayerUsers } from "./layers.ts";
import { mapLayers, unmapLayers } from "./mapped-layers.ts";
import { mountOverlay } from "./overlay-mount.ts";
import type { MeasuredUsage, MountOptions, Snapshotter, VolumeOptions } from "./snapshotter.ts";
import { UsageCache } from "./usage.ts";

const idPattern = /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}$/;
const maxRecordBytes = 1 << 20;

/**
 * Snapshots on overlayfs: `containers/<id>/` holds `chain.json`, which names its parent layers, and `upper` and `work`
 * unless it is a view, and its `volumes`. `openOverlay` makes one.
 */
export class OverlaySnapshotter implements Snapshotter {
  readonly layers: Layers;
  readonly #directory: string;
  readonly #chains = new Map<string, readonly ChainId[]>();
  readonly #usage: UsageCache;

  constructor(directory: string, argv: UnpackArgv = unpackArgv, limits: LayerLimits = layerLimits) {
    // These would end the name of a directory within mount options.
    if (/[:,\\]/.test(directory)) {
      throw invalidArgument(
        `snapshots cannot be in ${JSON.stringify(directory)}: it has : , or \\`,
      );
    }
    this.#directory = join(directory, "containers");
    this.layers = new Layers(directory, this.#layerUsers(), argv, limits);
    this.#usage = new UsageCache((id) => [this.#path(id, "upper"), this.#path(id, "volumes")]);
  }

  async open(ctx: Context): Promise<void> {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    for (const id of readdirSync(this.#directory)) {
      unmapLayers(this.#path(id, "mapped"));
      try {
        if (id.startsWith(".")) await removeSnapshot(this.#path(id));
        else this.#chains.set(id, this.#readChain(id));
      } catch (err) {
        // A snapshot that was cut off while it was made: there is no container yet, or it is removed by its id.
        ctx.log.warn("snapshot is incomplete", { container: id, err: describe(err) });
        this.#chains.set(id, []);
      }
    }
  }

  async prepare(
    ctx: Context,
    id: string,
    diffIds: readonly Digest[],
    options: Parameters<Snapshotter["prepare"]>[3] = {},
  ): Promise<void> {
    const chain = chainIdsOf(diffIds);
    this.#begin(ctx, id, chain);
    const model = chain.length === 0 ? undefined : this.layers.lowerDirectories(chain)[0];
    mkdirSync(this.#path(id, "work"), { mode: 0o700 });
    if (options.changes === undefined) makeUpper(this.#path(id, "upper"), model, options.ids);
    else await this.layers.unpackChanges(ctx, options.changes, chain, this.#path(id, "upper"));
    this.#end(id, chain);
  }

  async prepareView(ctx: Context, id: string, chain: readonly ChainId[]): Promise<void> {
    if (chain.length === 0) throw failedPrecondition(`view ${id}: the image has no layers`);
    this.#begin(ctx, id, chain);
    this.#end(id, chain);
  }

  async addVolume(ctx: Context, id: string, { content, owner }: VolumeOptions): Promise<string> {
    ctx.signal.throwIfAborted();
    if (!this.#chains.has(id)) throw notFound(`snapshot ${id}`);
    const volumes = this.#path(id, "volumes");
    mkdirSync(volumes, { recursive: true, mode: 0o700 });
    const path = join(volumes, String(readdirSync(volumes).length));
    mkdirSync(path, { mode: 0o755 });
    chownSync(path, owner.uid, owner.gid);
    if (content !== undefined) await copyTree(ctx, Buffer.from(content), Buffer.from(path));
    return path;
  }

  listVolumes(id: string): readonly string[] {
    const volumes = this.#path(id, "volumes");
    if (!existsSync(volumes)) return [];
    return readdirSync(volumes).map((_, i) => join(volumes, String(i)));
  }

  async mount(ctx: Context, id: string, target: string, options: MountOptions = {}): Promise<void> {
    ctx.signal.throwIfAborted();
    const chain = this.#chains.get(id);
    if (chain === undefined) throw notFound(`snapshot ${id}`);
    const isView = !existsSync(this.#path(id, "upper"));
    const lower = this.layers.lowerDirectories(chain);
    // An overlay needs something to write to or two layers.
    if (isView && lower.length === 1) lower.push(this.layers.emptyDirectory);
    using mapped =
      options.userNamespace === undefined
        ? undefined
        : mapLayers(this.layers.directory, this.#path(id, "mapped"), options.userNamespace);
    mountOverlay(target, {
      lower: mapped === undefined ? lower : lower.map(mapped.pathOf),
      writable: isView
        ? undefined
        : { upper: this.#path(id, "upper"), work: this.#path(id, "work") },
      readOnly: isView || options.readOnly === true,
    });
  }

  async canMap(ctx: Context, userNamespace: UserNamespace): Promise<boolean> {
    const view = this.#path(".probe-view");
    const target = this.#path(".probe-target");
    try {
      mkdirSync(target, { recursive: true, mode: 0o700 });
      using mapped = mapLayers(this.layers.directory, view, userNamespace);
      const lower = [this.layers.emptyDirectory, join(this.layers.directory, "tmp")];
      mountOverlay(target, {
        lower: lower.map(mapped.pathOf),
        writable: undefined,
        readOnly: true,
      });
      return true;
    } catch (err) {
      ctx.log.info("user namespaces unavailable", { err: describe(err) });
      return false;
    } finally {
      await removeSnapshot(target);
    }
  }

  async unmount(_ctx: Context, target: string): Promise<void> {
    unmountAll(target);
  }

  async remove(_ctx: Context, id: string): Promise<void> {
    checkId(id);
    unmapLayers(this.#path(id, "mapped"));
    // By its id, so that a repeated call goes on with what could not be deleted.
    const trash = this.#path(`.removed-${id}`);
    await rm(trash, { recursive: true, force: true });
    try {
      renameSync(this.#path(id), trash);
    } catch (err) {
      if (!isErrno(err, "ENOENT")) throw err;
      this.#forget(id);
      return;
    }
    this.#forget(id);
    await rm(trash, { recursive: true, force: true });
    await this.layers.removeRetired();
  }

  readChanges(ctx: Context, id: string): AsyncIterable<Uint8Array> {
    if (!this.#chains.has(id)) throw notFound(`snapshot ${id}`);
    return readChanges(ctx, this.#path(id, "upper"));
  }

  async usage(ctx: Context, id: string): Promise<MeasuredUsage> {
    if (!this.#chains.has(id)) throw notFound(`snapshot ${id}`);
    return await this.#usage.get(ctx, id);
  }

  list(): readonly string[] {
    return [...this.#chains.keys()];
  }

  #begin(ctx: Context, id: string, chain: readonly ChainId[]): void {
    checkId(id);
    ctx.signal.throwIfAborted();
    this.layers.lowerDirectories(chain); // throws unless all are there
    unmapLayers(this.#path(id, "mapped"));
    rmSync(this.#path(id), { recursive: true, force: true });
    mkdirSync(this.#path(id), { mode: 0o700 });
  }

  #end(id: string, chain: readonly ChainId[]): void {
    writeFileSync(this.#path(id, "chain.json"), JSON.stringify(chain), { mode: 0o600 });
    this.#chains.set(id, chain);
  }

  #forget(id: string): void {
    this.#chains.delete(id);
    this.#usage.forget(id);
  }

  #layerUsers(): LayerUsers {
    return {
      usedLayers: () => [...this.#chains.values()].flat(),
      usersOf: (chainId) =>
        [...this.#chains].flatMap(([id, all]) => (all.includes(chainId) ? id : [])),
      list: () => this.list(),
    };
  }

  #readChain(id: string): readonly ChainId[] {
    const read = (name: string) => {
      const text = readFileSync(this.#path(id, name));
      const list = asArray(parseJson(text, name, { maxBytes: maxRecordBytes }), name);
      return list.map((digest) => parseDigest(asString(digest, name)));
    };
    if (existsSync(this.#path(id, "chain.json"))) return read("chain.json").map(parseChainId);
    // As it was written before layers could be mounted that are not parents of each other.
    return chainIdsOf(read("layers.json"));
  }

  #path(...parts: readonly string[]): string {
    return join(this.#directory, ...parts);
  }
}

/** Opens the snapshots below `directory`, made if missing, and removes what an earlier life left unfinished. */
export async function openOverlay(
  ctx: Context,
  directory: string,
  argv?: UnpackArgv,
  limits?: LayerLimits,
): Promise<OverlaySnapshotter> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chmodSync(directory, 0o700);
  const snapshots = new OverlaySnapshotter(directory, argv, limits);
  await snapshots.open(ctx);
  await snapshots.layers.open(ctx);
  return snapshots;
}

/** Removes a directory that may be mounted on. */
async function removeSnapshot(directory: string): Promise<void> {
  unmountAll(directory);
  await rm(directory, { recursive: true, force: true });
}

function unmountAll(target: string): void {
  for (;;) {
    try {
      umount(target, MNT_DETACH | UMOUNT_NOFOLLOW);
    } catch (err) {
      // EINVAL: no mount point. Until then there may be one below the other.
      if (isErrno(err, "EINVAL") || isErrno(err, "ENOENT") || isErrno(err, "ENOTDIR")) return;
      throw err;
    }
  }
}

/** The container's root directory looks like that of its highest layer. */
function makeUpper(upper: string, model: string | undefined, ids: PodIds | undefined): void {
  const { mode, uid, gid } =
    model === undefined ? { mode: 0o755, uid: 0, gid: 0 } : statSync(model);
  mkdirSync(upper, { mode: 0o755 });
  chownSync(upper, hostIdOf(ids?.uids, uid), hostIdOf(ids?.gids, gid));
  chmodSync(upper, mode & 0o7777);
}

/** An id that the pod does not have becomes its root's. */
function hostIdOf(range: IdRange | undefined, id: number): number {
  return range === undefined ? id : (toHostId(range, id) ?? range.hostId);
}

function checkId(id: string): void {
  if (!idPattern.test(id) || id.startsWith(".")) {
    throw failedPrecondition(`snapshot id ${JSON.stringify(id.slice(0, 128))}`);
  }
}
