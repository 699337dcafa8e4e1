import type { Context } from "../lib/context.ts";
import type { ChainId } from "../oci/chain-id.ts";
import type { Digest } from "../oci/digest.ts";
import type { PodIds, UserNamespace } from "../oci/pod-ids.ts";

/** Disk space and files. */
export interface Usage {
  readonly usedBytes: number;
  readonly inodes: number;
}

export interface MeasuredUsage extends Usage {
  /** When it was measured, by the wall clock. */
  readonly atNs: bigint;
}

export interface MountOptions {
  readonly readOnly?: boolean;
  /** Files are seen with the ids that they have inside it. The snapshot was prepared with these ids. */
  readonly userNamespace?: UserNamespace | undefined;
}

export interface VolumeOptions {
  readonly content: string | undefined;
  readonly owner: { readonly uid: number; readonly gid: number };
}

/**
 * Layered file systems. A *layer* is the unpacked content of one image layer; it never changes, is named by its chain
 * id and is shared by all images and containers that have it. A *snapshot* is the writable part of one container, named
 * by the container's id, above the layers it was prepared with; as long as it exists, so do they.
 * Every method may be called again after it was interrupted.
 */
export interface Snapshotter {
  /**
   * Makes the writable part above these layers, lowest first; none is fine. All layers must be there. Its root is owned
   * by what the layers say, as `ids` have it on the node. It holds what `changes` has, an archive as `readChanges` returns
   * it, which is unpacked with the care that a layer's is.
   */
  prepare(
    ctx: Context,
    id: string,
    diffIds: readonly Digest[],
    options?: {
      readonly ids?: PodIds | undefined;
      readonly changes?: AsyncIterable<Uint8Array> | undefined;
    },
  ): Promise<void>;
  /**
   * Makes a snapshot without a writable part: it only keeps these layers, at least one, and can be mounted. They are laid
   * upon each other as they stand here, lowest first, whatever each was made upon.
   */
  prepareView(ctx: Context, id: string, chain: readonly ChainId[]): Promise<void>;
  /**
   * Makes a directory beside the writable part, which is removed with it and counted in its usage, and returns its path.
   * It is a copy of `content`, a directory that nobody changes meanwhile, or empty and `owner`'s.
   */
  addVolume(ctx: Context, id: string, volume: VolumeOptions): Promise<string>;
  /** The paths of a snapshot's volumes, in the order in which they were added. */
  listVolumes(id: string): readonly string[];
  /** Mounts the snapshot at `target`, an existing directory, in the host's mount namespace. A view is read-only. */
  mount(ctx: Context, id: string, target: string, options?: MountOptions): Promise<void>;
  /** Whether this node's kernel and file system can mount snapshots for a user namespace. */
  canMap(ctx: Context, userNamespace: UserNamespace): Promise<boolean>;
  /** Idempotent: nothing is mounted at `target` afterwards. */
  unmount(ctx: Context, target: string): Promise<void>;
  /** Idempotent: the writable part is gone. It must not be mounted any more. */
  remove(ctx: Context, id: string): Promise<void>;
  /** What the writable part takes. May be some seconds old. Throws not-found. */
  usage(ctx: Context, id: string): Promise<MeasuredUsage>;
  /** A tar archive, as of an image layer, of what the writable part holds; it may change meanwhile. Throws not-found. */
  readChanges(ctx: Context, id: string): AsyncIterable<Uint8Array>;
  /** The ids of all snapshots. */
  list(): readonly string[];
}

/** What was learnt while a layer was unpacked. */
export interface Layer extends Usage {
  readonly chainId: ChainId;
  readonly diffId: Digest;
  /** Of its archive, uncompressed; undefined when an earlier version unpacked it and its archive cannot be made again. */
  readonly tarBytes: number | undefined;
  /** Names of attributes in it that its files cannot have here; latin1. */
  readonly leftOut: readonly string[];
}

/** A layer that has been unpacked beside the others and is not one of them yet. Disposing it removes it. */
export interface UnpackedLayer extends AsyncDisposable {
  readonly diffId: Digest;
}

/** The side of the snapshotter that pulls and removals of images use. */
export interface LayerStore {
  find(chainId: ChainId): Layer | undefined;
  /** Until disposed, none of these layers is removed, be it there already or come later. */
  hold(chainIds: readonly ChainId[]): Disposable;
  /**
   * Unpacks the bytes of a layer, compressed or not. The layers below need not be there yet. Layers with the same
   * `group`, those of one image, may be unpacked by one process.
   */
  unpack(ctx: Context, source: AsyncIterable<Uint8Array>, group?: object): Promise<UnpackedLayer>;
  /**
   * Makes the unpacked layer the highest of `chain` (lowest first), whose other layers must be there. It is on disk
   * for sure only after `sync`.
   */
  commit(ctx: Context, layer: UnpackedLayer, diffIds: readonly Digest[]): Promise<Layer>;
  sync(ctx: Context): Promise<void>;
  /**
   * Compares the highest layer of `diffIds` with what it was unpacked from: every file's content, type, mode, owner, time,
   * target and attributes, and that there is no other. Returns what is wrong, if anything.
   */
  verify(ctx: Context, diffIds: readonly Digest[]): Promise<string | undefined>;
  /**
   * `commit` for a layer that is there, and damaged. It is replaced at once and for good; containers that have the old one
   * keep it, and go on.
   */
  replace(ctx: Context, layer: UnpackedLayer, diffIds: readonly Digest[]): Promise<Layer>;
  /**
   * The layer's archive, uncompressed, byte for byte: its digest is the diffID, or the end is an error. Holds the layer
   * meanwhile.
   */
  readTar(ctx: Context, chainId: ChainId): AsyncIterable<Uint8Array>;
  /** Removes each of these layers that is neither held, nor used by a snapshot, nor in `used`. */
  removeUnused(
    ctx: Context,
    chainIds: Iterable<ChainId>,
    used: ReadonlySet<ChainId>,
  ): Promise<void>;
  listLayers(): readonly Layer[];
  /** Where all of it is. */
  readonly directory: string;
}
