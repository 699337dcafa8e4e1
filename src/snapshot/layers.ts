import { randomBytes } from "node:crypto";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  statSync,
  utimesSync,
} from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { abortable } from "../lib/abortable.ts";
import type { Context } from "../lib/context.ts";
import {
  AppError,
  describe,
  failedPrecondition,
  invalidArgument,
  notFound,
} from "../lib/errors.ts";
import { type ChainId, chainIdHex, chainIdsOf } from "../oci/chain-id.ts";
import type { Digest } from "../oci/digest.ts";
import { rebuildInChild } from "./child/rebuild-child.ts";
import { completeInChild, type UnpackArgv, verifyInChild } from "./child/unpack-child.ts";
import { Unpacker } from "./child/unpacker.ts";
import { compareBelow } from "./layer/compare-below.ts";
import { isAttributeName } from "./layer/entry-metadata.ts";
import { inheritMetadata } from "./layer/inherit-metadata.ts";
import type { LayerLimits, LayerReport } from "./layer/layer-report.ts";
import { LayerHolds } from "./layer-holds.ts";
import { readLayerRecord, type StoredLayer, writeLayerRecord } from "./layer-record.ts";
import { measureOwn } from "./own-usage.ts";
import { RetiredLayers } from "./retired-layers.ts";
import type { Layer, LayerStore, UnpackedLayer } from "./snapshotter.ts";

/** Directories that get their metadata without a child. */
const maxImplied = 500;

/** The side of the snapshots that layers have to know. */
export interface LayerUsers {
  /** The parent layers of snapshots. */
  usedLayers(): Iterable<ChainId>;
  /** The snapshots whose parent this is. */
  usersOf(chainId: ChainId): readonly string[];
  /** All snapshots. */
  list(): readonly string[];
}

/**
 * The unpacked layers: `layers/<chain id>/fs`, with what is known of each in `layer.json` beside it, `recipe` and `replaced`
 * to make its archive again, and `tmp/` where they come into being. All of it is below a directory that only root can enter.
 */
export class Layers implements LayerStore {
  readonly directory: string;
  readonly #layers = new Map<ChainId, StoredLayer>();
  readonly #holds = new LayerHolds();
  readonly #users: LayerUsers;
  readonly #retired: RetiredLayers;
  readonly #argv: UnpackArgv;
  readonly #unpacker: Unpacker;

  constructor(directory: string, users: LayerUsers, argv: UnpackArgv, limits: LayerLimits) {
    this.#argv = argv;
    this.#unpacker = new Unpacker(argv, join(directory, "tmp"), join(directory, "empty"), limits);
    this.directory = directory;
    this.#users = users;
    this.#retired = new RetiredLayers(join(directory, "retired"), () => users.list());
  }

  /** Loads what is there, and removes what an earlier life left unfinished. */
  async open(ctx: Context): Promise<void> {
    for (const name of ["layers", "tmp", "empty"]) {
      mkdirSync(join(this.directory, name), { recursive: true, mode: 0o700 });
    }
    for (const name of readdirSync(this.#path("tmp")))
      await removeDirectory(this.#path("tmp", name));
    for (const name of readdirSync(this.#path("layers"))) {
      try {
        const layer = readLayerRecord(this.#path("layers", name));
        this.#layers.set(layer.chainId, layer);
      } catch (err) {
        ctx.log.warn("unreadable layer removed", { layer: name, err: describe(err) });
        await this.#discard(this.#path("layers", name));
      }
    }
    await this.#retired.removeUnused();
  }

  find(chainId: ChainId): Layer | undefined {
    return this.#layers.get(chainId);
  }

  listLayers(): readonly Layer[] {
    return [...this.#layers.values()];
  }

  hold(chainIds: readonly ChainId[]): Disposable {
    return this.#holds.hold(chainIds);
  }

  /** The directories to mount, highest first; never empty. */
  lowerDirectories(chain: readonly ChainId[]): string[] {
    const directories: string[] = [];
    for (const id of chain.toReversed()) {
      const layer = this.#layers.get(id);
      if (layer === undefined) {
        throw new AppError(`layer ${id} is not there`, { kind: "failed-precondition" });
      }
      directories.push(this.#path("layers", chainIdHex(id), "fs"));
      if (layer.isRootOpaque) break;
    }
    return directories.length === 0 ? [this.emptyDirectory] : directories;
  }

  /** A layer without files. */
  get emptyDirectory(): string {
    return this.#path("empty");
  }

  async unpack(
    ctx: Context,
    source: AsyncIterable<Uint8Array>,
    group: object = {},
  ): Promise<UnpackedLayer> {
    const directory = this.#path("tmp", randomBytes(8).toString("hex"));
    await using rollback = new AsyncDisposableStack();
    rollback.defer(() => removeDirectory(directory));
    mkdirSync(directory, { mode: 0o700 });
    mkdirSync(join(directory, "fs"), { mode: 0o755 });
    chmodSync(join(directory, "fs"), 0o755);
    const report = await this.#unpacker.apply(ctx, directory, source, group);
    return new Unpacked(directory, report, rollback.move());
  }

  /** Unpacks what a writable part above `chain` holds to `target`, which is not there yet. */
  async unpackChanges(
    ctx: Context,
    source: AsyncIterable<Uint8Array>,
    chain: readonly ChainId[],
    target: string,
  ): Promise<void> {
    await using unpacked = await this.unpack(ctx, source);
    if (!(unpacked instanceof Unpacked)) throw new TypeError("a layer of another store");
    const { directory, report } = unpacked;
    if (report.isRootOpaque) throw invalidArgument("changes that hide the whole image");
    await this.#complete(ctx, directory, report, chain);
    renameSync(join(directory, "fs"), target);
  }

  async commit(ctx: Context, unpacked: UnpackedLayer, diffIds: readonly Digest[]): Promise<Layer> {
    const { layer, directory } = await this.#finish(ctx, unpacked, diffIds);
    if (!this.#layers.has(layer.chainId)) {
      const target = this.#path("layers", chainIdHex(layer.chainId));
      // One that was found damaged, or that is being removed: never added to, always replaced.
      if (existsSync(target)) await this.#discard(target);
      renameSync(directory, target);
      this.#layers.set(layer.chainId, layer);
    }
    return layer;
  }

  async replace(ctx: Context, unpacked: UnpackedLayer, diffIds: readonly Digest[]): Promise<Layer> {
    const { layer, directory } = await this.#finish(ctx, unpacked, diffIds);
    const { chainId } = layer;
    if (!this.#layers.has(chainId)) return await this.commit(ctx, unpacked, diffIds);
    // The new one has to be on the disk before it takes the place of one that was there for sure.
    await this.sync(ctx);
    const place = this.#path("layers", chainIdHex(chainId));
    await this.#retired.replace(place, directory, this.#users.usersOf(chainId));
    this.#layers.set(chainId, layer);
    return layer;
  }

  async verify(ctx: Context, diffIds: readonly Digest[]): Promise<string | undefined> {
    const chain = chainIdsOf(diffIds);
    const highest = chain.at(-1);
    const layer = highest && this.#layers.get(highest);
    if (layer === undefined) return "is not there";
    if (layer.tarBytes === undefined) return "was unpacked by a version that cannot verify it";
    using _hold = this.hold(chain);
    const directory = this.#path("layers", chainIdHex(layer.chainId));
    const finding = await verifyInChild(
      ctx,
      this.#argv,
      directory,
      layer.diffId,
      layer.leftOut.filter(isAttributeName),
    );
    if (finding.problem !== undefined) return finding.problem;
    const below = layer.isRootOpaque ? [] : this.lowerDirectories(chain.slice(0, -1));
    return await compareBelow(join(directory, "fs"), below, finding.extras);
  }

  /** To be called when a snapshot has gone: what only it needed goes, too. */
  async removeRetired(): Promise<void> {
    await this.#retired.removeUnused();
  }

  /** Once per image, before anything on disk says that the image is there. */
  sync(ctx: Context): Promise<void> {
    return abortable(this.#unpacker.sync(), ctx.signal);
  }

  async *readTar(ctx: Context, chainId: ChainId): AsyncGenerator<Uint8Array> {
    const layer = this.#layers.get(chainId);
    if (layer === undefined) throw notFound(`layer ${chainId}`);
    if (layer.tarBytes === undefined) {
      throw failedPrecondition(
        `layer ${layer.diffId}: its archive cannot be rebuilt, since an older version unpacked it: remove and pull its image`,
      );
    }
    using _hold = this.hold([chainId]);
    yield* rebuildInChild(ctx, this.#argv, this.#path("layers", chainIdHex(chainId)), layer.diffId);
  }

  async removeUnused(
    ctx: Context,
    chainIds: Iterable<ChainId>,
    used: ReadonlySet<ChainId>,
  ): Promise<void> {
    const inUse = new Set([...used, ...this.#users.usedLayers(), ...this.#holds.list()]);
    // All are out of sight before the first await: who looks now finds none of them.
    const doomed = [...chainIds].filter((id) => !inUse.has(id) && this.#layers.delete(id));
    const trash = doomed.map((id) => this.#moveAway(this.#path("layers", chainIdHex(id))));
    for (const path of trash) await removeDirectory(path);
    if (doomed.length > 0) ctx.log.debug("layers removed", { count: doomed.length });
  }

  /** All but the place among the layers. */
  async #finish(ctx: Context, unpacked: UnpackedLayer, diffIds: readonly Digest[]) {
    if (!(unpacked instanceof Unpacked)) throw new TypeError("a layer of another store");
    const { directory, report } = unpacked;
    const chain = chainIdsOf(diffIds);
    const chainId = chain.at(-1);
    if (chainId === undefined || report.diffId !== diffIds.at(-1)) {
      throw new AppError(`layer is ${report.diffId} and not ${diffIds.at(-1)}`, {
        kind: "data-loss",
      });
    }
    const below = report.isRootOpaque ? [] : chain.slice(0, -1);
    await this.#complete(ctx, directory, report, below);
    const own = measureOwn(directory, report.links);
    const layer: StoredLayer = {
      chainId,
      diffId: report.diffId,
      usedBytes: report.sizeBytes + own.usedBytes,
      inodes: report.inodes + own.inodes,
      tarBytes: report.uncompressedBytes,
      isRootOpaque: report.isRootOpaque,
      leftOut: report.leftOut,
    };
    writeLayerRecord(directory, layer);
    return { layer, directory };
  }

  /** Gives the layer what it has from those below. */
  async #complete(
    ctx: Context,
    directory: string,
    report: LayerReport,
    below: readonly ChainId[],
  ): Promise<void> {
    const lower = this.lowerDirectories(below);
    const [highest = ""] = lower;
    const fs = join(directory, "fs");
    if (report.links.length === 0 && below.length > 0 && report.implied.length <= maxImplied) {
      inheritMetadata(fs, lower, report.implied);
    } else if (report.links.length > 0 || below.length > 0) {
      for (const name of ["work", "merged"]) mkdirSync(join(directory, name));
      await completeInChild(ctx, this.#argv, directory, {
        lower,
        implied: report.implied,
        links: report.links,
      });
      for (const name of ["work", "merged"]) await removeDirectory(join(directory, name));
    }
    if (!report.hasRootEntry && below.length > 0) copyMetadata(fs, highest);
  }

  #path(...parts: readonly string[]): string {
    return join(this.directory, ...parts);
  }

  /** A rename is at once and all or nothing; the deletion may be cut off and is then finished at the next start. */
  #moveAway(path: string): string {
    const trash = this.#path("tmp", `.removed-${randomBytes(8).toString("hex")}`);
    renameSync(path, trash);
    return trash;
  }

  #discard(path: string): Promise<void> {
    return removeDirectory(this.#moveAway(path));
  }
}

class Unpacked implements UnpackedLayer {
  readonly directory: string;
  readonly report: LayerReport;
  readonly #resources: AsyncDisposableStack;

  constructor(directory: string, report: LayerReport, resources: AsyncDisposableStack) {
    this.directory = directory;
    this.report = report;
    this.#resources = resources;
  }

  get diffId(): Digest {
    return this.report.diffId;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

/** A layer whose archive does not name the root has that of the layer below. */
function copyMetadata(directory: string, model: string): void {
  const { uid, gid, mode, mtime } = statSync(model);
  chownSync(directory, uid, gid);
  chmodSync(directory, mode & 0o7777);
  utimesSync(directory, mtime, mtime);
}

async function removeDirectory(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
}
