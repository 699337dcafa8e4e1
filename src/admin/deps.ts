import type { CallInProgress, StepInProgress } from "../cri/call/calls-in-progress.ts";
import type { DiskUsage } from "../cri/deps.ts";
import type { ExportOptions } from "../image/archive/export.ts";
import type { Image } from "../image/image.ts";
import type { LayeredImage } from "../image/layered-image.ts";
import type { PullProgress } from "../image/pull.ts";
import type { Verdict, VerifyOptions } from "../image/verify.ts";
import type { Context } from "../lib/context.ts";
import type { RunOptions, StartedPod } from "../standalone/pods.ts";
import type { NamedVolume } from "../standalone/volumes.ts";

/** The domain as operators' calls need it; daemon/graph/bind-admin.ts binds these to the operations. */
/** The daemon's configuration. */
export interface ConfigDeps {
  /** What is in force, without secrets. */
  describe(): {
    readonly files: readonly string[];
    readonly settings: readonly {
      readonly key: string;
      readonly value: unknown;
      readonly origin: string;
    }[];
  };
  /** Throws what is wrong with the files; what was in force stays then. */
  reload(): Promise<{
    readonly changed: readonly string[];
    readonly needRestart: readonly string[];
  }>;
}

/** What the daemon is doing. */
export interface Activity {
  readonly counts: Readonly<Record<string, number>>;
  readonly calls: readonly CallInProgress[];
  /** Of no call, or of one that is over. */
  readonly background: readonly StepInProgress[];
  readonly creations: readonly { readonly container: string; readonly sandbox: string }[];
}

export interface AdminDeps {
  readonly config: ConfigDeps;
  activity(): Activity;
  /** A file or a directory, by its absolute path. */
  importPath(ctx: Context, path: string): Promise<readonly Image[]>;
  importStream(ctx: Context, source: AsyncIterable<Uint8Array>): Promise<readonly Image[]>;
  exportImages(
    ctx: Context,
    keys: readonly string[],
    options: ExportOptions,
  ): AsyncIterable<Uint8Array>;
  pull(
    ctx: Context,
    name: string,
    options: {
      readonly credentials: { readonly username: string; readonly password: string } | undefined;
      readonly onProgress: (progress: PullProgress) => void;
    },
  ): Promise<Image>;
  verify(ctx: Context, options: VerifyOptions): AsyncIterable<Verdict>;
  /** One image by name or id, or all; the config and manifests as they came. */
  listLayers(key: string | undefined): readonly LayeredImage[];
  readonly standalone: {
    run(ctx: Context, options: RunOptions): Promise<StartedPod>;
    attend(id: string): Disposable;
    leave(id: string): void;
    start(ctx: Context, id: string, options: { readonly afterAttach: boolean }): Promise<void>;
    rename(ctx: Context, id: string, name: string): Promise<void>;
    restart(ctx: Context, id: string, graceMs: number): Promise<void>;
  };
  readonly containers: {
    signal(ctx: Context, id: string, signal: number): Promise<void>;
    pause(ctx: Context, id: string): Promise<void>;
    unpause(ctx: Context, id: string): Promise<void>;
    listPaused(): readonly string[];
  };
  /** Returns the image's names. */
  tag(nameOrId: string, name: string): readonly string[];
  untag(name: string): void;
  /** Bytes of pulls that failed: what they take now, and after they are gone if that is asked for. */
  pruneDownloads(options: { readonly dryRun: boolean }): number;
  readonly volumes: {
    /** With those that have it. */
    list(): readonly UsedVolume[];
    create(name: string, labels: Readonly<Record<string, string>>): UsedVolume;
    remove(name: string): void;
  };
  diskUsage(ctx: Context): Promise<NodeUsage>;
}

export interface UsedVolume extends NamedVolume {
  /** Ids of containers. */
  readonly usedBy: readonly string[];
}

export interface NodeUsage {
  readonly images: DiskUsage;
  readonly containers: DiskUsage;
  readonly logs: { readonly usedBytes: number; readonly inodes: number };
  readonly reclaimableBytes: number;
  readonly imageCount: number;
  readonly containerCount: number;
  readonly filesystemBytes: number;
  readonly filesystemFreeBytes: number;
}
