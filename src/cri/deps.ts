import type { Container } from "../container/container.ts";
import type { ContainerStats } from "../container/stats.ts";
import type { ImageUser } from "../container/user/image-user.ts";
import type * as pb from "../gen/runtime/v1/api_pb.ts";
import type { Image } from "../image/image.ts";
import type { Context } from "../lib/context.ts";
import type { ContainerId, SandboxId } from "../lib/id.ts";
import type { Digest } from "../oci/digest.ts";
import type { SecurityProfile } from "../profile/profile.ts";
import type { PodEvent } from "../sandbox/events/events.ts";
import type { SandboxDetails } from "../sandbox/inspect.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { NodeMetrics } from "../sandbox/usage/metrics.ts";
import type { PodStats } from "../sandbox/usage/stats.ts";
import type { StreamRequest } from "../streaming/deps.ts";

/*
 * The domain as the wire needs it; daemon/serve.ts binds these to the operations.
 * Requests reach it checked in form: lengths, characters, ranges, required fields. What they mean is the domain's.
 * `find` takes a whole id or a prefix that only one object has. Lists come from memory.
 */

export interface SandboxOperations {
  list(): readonly Sandbox[];
  find(idOrPrefix: string): Sandbox | undefined;
  inspect(sandbox: Sandbox): SandboxDetails;
  run(ctx: Context, config: pb.PodSandboxConfig, handler: string): Promise<SandboxId>;
  /** Both succeed for a sandbox that is gone by now. */
  stop(ctx: Context, id: SandboxId): Promise<void>;
  remove(ctx: Context, id: SandboxId): Promise<void>;
  updateResources(
    ctx: Context,
    id: SandboxId,
    change: {
      readonly overhead: pb.LinuxContainerResources | undefined;
      readonly resources: pb.LinuxContainerResources | undefined;
    },
  ): Promise<void>;
}

export interface ContainerOperations {
  list(): readonly Container[];
  find(idOrPrefix: string): Container | undefined;
  /** Its config.json; undefined when it is gone. */
  spec(id: ContainerId): unknown;
  create(
    ctx: Context,
    sandbox: SandboxId,
    config: pb.ContainerConfig,
    sandboxConfig: pb.PodSandboxConfig | undefined,
  ): Promise<ContainerId>;
  start(ctx: Context, id: ContainerId): Promise<void>;
  /** Both succeed for a container that is gone by now. */
  stop(ctx: Context, id: ContainerId, timeoutSeconds: number): Promise<void>;
  remove(ctx: Context, id: ContainerId): Promise<void>;
  /** Kills the command and throws `deadline-exceeded` after `timeoutMs`; 0 is no limit. */
  execSync(
    ctx: Context,
    id: ContainerId,
    options: { readonly argv: readonly string[]; readonly timeoutMs: number },
  ): Promise<ExecResult>;
  reopenLog(ctx: Context, id: ContainerId): Promise<void>;
  /** Writes an archive to `location`, an absolute path; 0 is no time limit but the caller's. */
  checkpoint(
    ctx: Context,
    id: ContainerId,
    options: { readonly location: string; readonly timeoutMs: number },
  ): Promise<void>;
  updateResources(
    ctx: Context,
    id: ContainerId,
    resources: pb.LinuxContainerResources,
    annotations: Readonly<Record<string, string>>,
  ): Promise<void>;
}

export interface ExecResult {
  readonly exitCode: number;
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}

/** What CRI AuthConfig says, its `auth` already taken apart. Empty strings are absent. Never logged. */
export interface PullCredentials {
  readonly username: string;
  readonly password: string;
  readonly identityToken: string;
  readonly registryToken: string;
  readonly serverAddress: string;
}

export interface DiskUsage {
  readonly mountpoint: string;
  readonly usedBytes: number;
  readonly inodes: number;
}

export interface ImageOperations {
  list(): readonly Image[];
  /** By id, name, or name with digest. */
  find(ref: string): Image | undefined;
  pull(ctx: Context, ref: string, credentials: PullCredentials | undefined): Promise<Image>;
  /** By id or any name; removes every name. Succeeds when there is no such image. */
  remove(ctx: Context, ref: string): Promise<void>;
  usage(ctx: Context): Promise<{ readonly images: DiskUsage; readonly containers: DiskUsage }>;
  userOf(image: Image): ImageUser | undefined;
  /** Whether the kubelet's garbage collection is to leave it alone: imported, or named by the configuration. */
  isPinned(image: Image): boolean;
}

export interface ProfileOperations {
  list(): readonly SecurityProfile[];
  /** `cached` where it was here already and no registry was asked. */
  pull(
    ctx: Context,
    ref: string,
    credentials: PullCredentials | undefined,
  ): Promise<{ readonly cached: boolean }>;
  /** Succeeds for one that is gone by now. */
  remove(digest: Digest): void;
}

export interface HandlerFeatures {
  readonly name: string;
  readonly recursiveReadOnlyMounts: boolean;
  readonly userNamespaces: boolean;
  readonly cgroupNamespaces: boolean;
}

/** A condition of the node: `reason` is one CamelCase word and `message` a sentence, both empty when all is well. */
export interface Condition {
  readonly status: boolean;
  readonly reason: string;
  readonly message: string;
}

export interface NodeDeps {
  readonly version: string;
  /** Of the embedded parts, by name. */
  readonly parts: Readonly<Record<string, string>>;
  readonly cgroupDriver: "cgroupfs" | "systemd";
  readonly handlers: readonly HandlerFeatures[];
  readonly defaultHandler: string;
  /** Of all handlers; `undefined` where pods can have them. */
  readonly whyNoUserNamespaces: string | undefined;
  readonly sandboxImage: string;
  readonly rootDir: string;
  readonly stateDir: string;
  networkStatus(ctx: Context): Promise<Condition>;
  setPodCidr(ctx: Context, podCidr: string): Promise<void>;
  /** Nanoseconds since 1970. */
  now(): bigint;
}

/** Figures that are read from the kernel when they are asked for. */
export interface StatsOperations {
  ofContainers(ctx: Context, containers: readonly Container[]): Promise<readonly ContainerStats[]>;
  metrics(ctx: Context): Promise<NodeMetrics>;
  /** What this node can tell at all. */
  readonly accounts: { readonly pressure: boolean; readonly hugePages: boolean };
  ofPods(ctx: Context, sandboxes: readonly Sandbox[]): Promise<readonly PodStats[]>;
  /** The file system of writable layers, as `ImageOperations.usage` names it. */
  readonly mountpoint: string;
}

export interface EventOperations {
  /** Every event from now on. Throws `resource-exhausted` for one subscriber too many, and for a slow one. */
  subscribe(signal: AbortSignal): AsyncIterable<PodEvent>;
}

export interface StreamingOperations {
  /** Where a client finds what was asked for, once and within a minute. Throws when too many wait. */
  url(request: StreamRequest): string;
}

/** What the two CRI services need. */
export interface CriDeps {
  readonly streaming: StreamingOperations;
  readonly sandboxes: SandboxOperations;
  readonly containers: ContainerOperations;
  readonly images: ImageOperations;
  readonly profiles: ProfileOperations;
  readonly stats: StatsOperations;
  readonly events: EventOperations;
  readonly node: NodeDeps;
}
