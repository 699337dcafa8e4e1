import { mkdirSync, rmdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import type { Container } from "../container/container.ts";
import { MountPropagation, protocols } from "../container/cri.ts";
import type { ContainerExtras } from "../container/extras.ts";
import { logPathOf } from "../container/log-path.ts";
import { type StartContainerDeps, startContainer } from "../container/start.ts";
import { stopContainer } from "../container/stop.ts";
import type * as pb from "../gen/runtime/v1/api_pb.ts";
import { abortable } from "../lib/abortable.ts";
import { type Context, detached, withFields } from "../lib/context.ts";
import {
  AppError,
  describe,
  failedPrecondition,
  invalidArgument,
  notFound,
} from "../lib/errors.ts";
import { type ContainerId, generateSandboxId, type SandboxId } from "../lib/id.ts";
import { KeyedMutex } from "../lib/keyed-mutex.ts";
import { nodePaths } from "../lib/node-paths.ts";
import {
  type AddContainerDeps,
  addContainer,
  recreateInSandbox,
} from "../sandbox/add-container.ts";
import { hostnameOf } from "../sandbox/environment/directory.ts";
import type { LifecycleEvent } from "../sandbox/events/events.ts";
import { type RemoveSandboxDeps, removeSandbox } from "../sandbox/remove.ts";
import { type RunSandboxDeps, renewSandbox, runSandbox } from "../sandbox/run.ts";
import type { Sandbox, SandboxExtras } from "../sandbox/sandbox.ts";
import type { StandaloneTable } from "../state/standalone.ts";
import type { StandaloneOptions, StandalonePod } from "./pod.ts";
import { type HostPort, listeningPorts, type PortHolder, refuseTakenPorts } from "./ports.ts";
import { restartDelayMs, restartsAfterExit, restartsAtStart } from "./restart-policy.ts";
import type { NamedVolumes } from "./volumes.ts";

export type StandaloneDeps = RunSandboxDeps &
  RemoveSandboxDeps &
  AddContainerDeps &
  StartContainerDeps & {
    readonly standalone: StandaloneTable;
    readonly volumes: NamedVolumes;
    /** The sandbox's record, and all that was recorded before, is on the disk when this returns. */
    readonly flush: (id: SandboxId) => void;
  };

export interface RunOptions extends StandaloneOptions {
  readonly sandbox: pb.PodSandboxConfig;
  readonly container: pb.ContainerConfig;
  readonly handler: string;
  readonly start: boolean;
  readonly extras?: PodExtras | undefined;
}

/** What CRI has no field for. */
export interface PodExtras {
  readonly sandbox: Omit<SandboxExtras, "network">;
  /** `of` is the id of a pod, or the beginning of one, as the client sent it. */
  readonly network: "none" | { readonly of: string } | undefined;
  readonly container: ContainerExtras;
  readonly volumes: readonly {
    readonly name: string;
    readonly containerPath: string;
    readonly readonly: boolean;
    readonly fills: boolean;
  }[];
}

export interface StartedPod {
  readonly sandboxId: SandboxId;
  readonly containerId: ContainerId;
}

/** For the client of an attended pod to come back after a restart of the daemon. */
const returnMs = 30_000;
/** For a program whose user has gone away: nobody waits for what it does at its end. */
const desertedGraceMs = 3000;
/** Attached clients still ask for the exit code of a container that has ended. */
const exitCodeMs = 5_000;
const removeMs = 120_000;
const startMs = 300_000;

interface Restart {
  readonly delayMs: number;
  readonly timer: ReturnType<typeof setTimeout> | undefined;
}

/**
 * The standalone pods of this node: makes them, starts them again as their policies say, removes those that are to go.
 * All that it remembers is in the records, so that a daemon that was killed at any moment goes on where it was.
 */
export class StandalonePods implements Disposable {
  readonly #ctx: Context;
  readonly #deps: StandaloneDeps;
  readonly #locks = new KeyedMutex<SandboxId>();
  /** The next start of those that have ended, and how long the last one was waited for. */
  readonly #restarts = new Map<SandboxId, Restart>();
  readonly #attended = new Map<SandboxId, number>();
  /** Those that a user restarts: that they end is no end. */
  readonly #restarting = new Set<SandboxId>();
  /** Containers that are made to be attached to before they start. */
  readonly #attaching = new Map<ContainerId, PromiseWithResolvers<void>>();
  /** Ports of pods whose sandbox is not on record yet. */
  readonly #claims = new Map<SandboxId, readonly HostPort[]>();

  /** `ctx` ends with the daemon. The caller passes on every event of pods and containers. */
  constructor(ctx: Context, deps: StandaloneDeps) {
    this.#ctx = ctx;
    this.#deps = deps;
  }

  /**
   * Makes the pod and its container. The first thing on disk is that it is being made, the last that it is there: what
   * is cut off between is removed. Goes on to the end when the caller gives up, and removes what it has made then.
   */
  async run(ctx: Context, options: RunOptions): Promise<StartedPod> {
    const { sandbox, container, handler, start, extras, ...asked } = options;
    const { standalone } = this.#deps;
    const id = generateSandboxId();
    const subject = withFields(detached(ctx, startMs), { sandbox: id });
    using claims = new DisposableStack();
    for (const { name } of extras?.volumes ?? []) claims.use(this.#deps.volumes.claim(name));
    using _claim = this.#claimPorts(id, hostPortsOf(sandbox));
    standalone.put({
      id,
      containerId: undefined,
      isStopped: false,
      restarts: 0,
      restart: asked.restart,
      remove: asked.remove,
      isAttended: asked.isAttended,
      log: asked.log,
    });
    await using rollback = new AsyncDisposableStack();
    rollback.defer(() => this.#discard(id, sandbox));
    const logPath = logPathOf(sandbox.logDirectory, container.logPath);
    if (logPath !== "") mkdirSync(dirname(logPath), { recursive: true });
    const shared = this.#sharedNetwork(extras);
    const made = await runSandbox(
      subject,
      this.#deps,
      shared === undefined ? sandbox : { ...sandbox, hostname: hostnameOf(shared.config) },
      handler,
      id,
      extras && {
        ...extras.sandbox,
        network: extras.network === "none" ? "none" : shared && { of: shared.id },
      },
    );
    if (made !== id) throw failedPrecondition(`pod ${made} is being made already`);
    const containerId = await addContainer(
      subject,
      this.#deps,
      id,
      this.#withVolumes(container, extras),
      this.#withFills(extras),
    );
    if (!start) this.#attachmentTo(containerId);
    if (start) await startContainer(subject, this.#deps, containerId);
    ctx.signal.throwIfAborted();
    this.#deps.flush(id);
    standalone.put({ ...standalone.get(id), containerId });
    rollback.move();
    // What ended before it was on record has not been noticed.
    const last = this.#deps.containers.find(containerId);
    if (last?.state.name === "exited") this.#hasEnded(id);
    return { sandboxId: id, containerId };
  }

  /** Until disposed, the pod belongs to the caller. Disposed without `leave`, one with `remove` is stopped and removed. */
  attend(id: SandboxId): Disposable {
    this.#deps.standalone.get(id);
    this.#attended.set(id, (this.#attended.get(id) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        const others = (this.#attended.get(id) ?? 1) - 1;
        if (others > 0) {
          this.#attended.set(id, others);
          return;
        }
        this.#attended.delete(id);
        // The daemon is leaving, not the client.
        if (!this.#ctx.signal.aborted) this.#background(id, () => this.#removeDeserted(id));
      },
    };
  }

  /** The pod goes on without its client. */
  leave(id: SandboxId): void {
    const pod = this.#deps.standalone.get(id);
    this.#deps.standalone.put({ ...pod, isAttended: false });
    if (this.#containerOf(pod)?.state.name === "exited") this.#hasEnded(id);
  }

  /** A user stops it: before it ends. No-op for the pods of others. */
  noteStop(id: SandboxId): void {
    const pod = this.#deps.standalone.find(id);
    this.#cancel(id);
    if (pod !== undefined && !pod.isStopped) this.#deps.standalone.put({ ...pod, isStopped: true });
  }

  /** A client has the streams of a container from now on. */
  noteAttached(container: ContainerId): void {
    this.#attaching.get(container)?.resolve();
  }

  /**
   * Returns when it runs. Throws `failed-precondition` for a pod that is not standalone. With `afterAttach` the streams
   * of the container have a client before it starts.
   */
  async start(
    ctx: Context,
    id: SandboxId,
    options: { readonly afterAttach?: boolean } = {},
  ): Promise<void> {
    this.#cancel(id);
    const pod = this.#get(id);
    if (options.afterAttach === true && pod.containerId !== undefined) {
      await abortable(this.#attachmentTo(pod.containerId).promise, ctx.signal);
    }
    this.#deps.standalone.put({ ...pod, isStopped: false, restarts: 0 });
    await this.#bringUp(ctx, id);
  }

  /**
   * Gives the pod and its container another name. Throws `already-exists` for one that another pod has, and
   * `failed-precondition` for a pod that is not standalone.
   */
  async rename(ctx: Context, id: SandboxId, name: string): Promise<void> {
    if (!/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/.test(name)) {
      throw invalidArgument(`name ${JSON.stringify(name.slice(0, 100))}: not a pod's name`);
    }
    using _lock = await this.#locks.lock(id, ctx.signal);
    const { containerId } = this.#get(id);
    const { sandboxes, containers } = this.#deps;
    const sandbox = sandboxes.get(id);
    const { metadata } = sandbox.config;
    const holder = sandboxes.list().find(({ config: { metadata: other } }) => {
      return other?.name === name && other.namespace === metadata?.namespace;
    });
    if (holder?.id === id) return;
    if (holder !== undefined) {
      throw new AppError(`the name "${name}" is taken by pod ${holder.id}`, {
        kind: "already-exists",
      });
    }
    if (metadata !== undefined) {
      sandboxes.put({ ...sandbox, config: { ...sandbox.config, metadata: { ...metadata, name } } });
    }
    const container = containerId && containers.find(containerId);
    const named = container?.config.metadata;
    if (container && named !== undefined) {
      containers.put({
        ...container,
        config: { ...container.config, metadata: { ...named, name } },
      });
    }
    this.#deps.flush(id);
  }

  async restart(ctx: Context, id: SandboxId, graceMs: number): Promise<void> {
    const { containerId } = this.#get(id);
    this.#restarting.add(id);
    try {
      if (containerId !== undefined) await stopContainer(ctx, this.#deps, containerId, graceMs);
      await this.start(ctx, id);
    } finally {
      this.#restarting.delete(id);
    }
  }

  /** After the daemon has recovered: finishes what was cut off, and starts what is to run. */
  recover(): void {
    for (const pod of this.#deps.standalone.list()) {
      const { id } = pod;
      const container = this.#containerOf(pod);
      if (this.#deps.sandboxes.find(id) === undefined) this.#deps.standalone.delete(id);
      else if (container === undefined) this.#background(id, () => this.#remove(id));
      else if (pod.isAttended) {
        setTimeout(() => this.#background(id, () => this.#removeDeserted(id)), returnMs).unref();
      } else if (container.state.name === "created") {
        // Its first start was cut off.
        if (pod.restart.name !== "no" && !pod.isStopped) this.#schedule(id, 0);
      } else if (container.state.name === "exited") {
        if (pod.remove) this.#background(id, () => this.#remove(id));
        else if (restartsAtStart(pod.restart, endOf(pod, container))) {
          if (pod.isStopped) this.#deps.standalone.put({ ...pod, isStopped: false });
          this.#schedule(id, 0);
        }
      }
    }
  }

  /** Never throws: called by whoever has recorded the change. */
  onEvent(event: LifecycleEvent): void {
    if ("sandbox" in event) {
      if (event.type === "deleted") this.#forget(event.sandbox);
      return;
    }
    const { container, type } = event;
    const pod = this.#deps.standalone.find(container.sandboxId);
    if (type === "stopped" && pod?.containerId === container.id) this.#hasEnded(pod.id);
  }

  [Symbol.dispose](): void {
    for (const { timer } of this.#restarts.values()) clearTimeout(timer);
    this.#restarts.clear();
  }

  #withVolumes(container: pb.ContainerConfig, extras: PodExtras | undefined): pb.ContainerConfig {
    const mounts = (extras?.volumes ?? []).map(({ name, containerPath, readonly }) =>
      bindMount(this.#deps.volumes.create(name).path, containerPath, readonly),
    );
    return { ...container, mounts: [...container.mounts, ...mounts] };
  }

  #withFills(extras: PodExtras | undefined): ContainerExtras | undefined {
    const fills = (extras?.volumes ?? [])
      .filter((volume) => volume.fills)
      .map(({ name, containerPath }) => {
        return { source: this.#deps.volumes.create(name).path, destination: containerPath };
      });
    return extras && { ...extras.container, fills };
  }

  /** The pod whose network a new one is to share. */
  #sharedNetwork(extras: PodExtras | undefined): Sandbox | undefined {
    const network = extras?.network;
    if (network === undefined || network === "none") return undefined;
    const shared = this.#deps.sandboxes.resolve(network.of);
    if (shared === undefined) throw notFound(`pod ${network.of.slice(0, 64)} not found`);
    return shared;
  }

  #attachmentTo(id: ContainerId): PromiseWithResolvers<void> {
    const known = this.#attaching.get(id) ?? Promise.withResolvers<void>();
    this.#attaching.set(id, known);
    return known;
  }

  #get(id: SandboxId): StandalonePod {
    const pod = this.#deps.standalone.find(id);
    if (pod?.containerId !== undefined) return pod;
    const name = this.#deps.sandboxes.find(id)?.config.metadata?.name ?? id;
    throw failedPrecondition(
      `start pod ${name}: it was not made by \`crib run\`, so starting it is up to the client that made it`,
    );
  }

  #containerOf({ containerId }: StandalonePod): Container | undefined {
    return containerId === undefined ? undefined : this.#deps.containers.find(containerId);
  }

  /** What follows from the end of its container. */
  #hasEnded(id: SandboxId): void {
    const pod = this.#deps.standalone.find(id);
    const container = pod && this.#containerOf(pod);
    if (container?.state.name !== "exited" || pod === undefined) return;
    if (pod.isAttended || this.#restarting.has(id)) return;
    if (pod.remove) {
      setTimeout(() => this.#background(id, () => this.#remove(id)), exitCodeMs).unref();
      return;
    }
    if (!restartsAfterExit(pod.restart, endOf(pod, container))) return;
    const { startedAtNs, finishedAtNs } = container.state;
    const ranMs = Number((finishedAtNs - (startedAtNs ?? finishedAtNs)) / 1_000_000n);
    this.#schedule(id, restartDelayMs(this.#restarts.get(id)?.delayMs, ranMs));
  }

  #schedule(id: SandboxId, delayMs: number): void {
    if (this.#restarts.get(id)?.timer !== undefined || this.#ctx.signal.aborted) return;
    const timer = setTimeout(() => {
      this.#restarts.set(id, { delayMs, timer: undefined });
      this.#background(id, () => this.#restartByPolicy(id));
    }, delayMs).unref();
    this.#restarts.set(id, { delayMs, timer });
  }

  #cancel(id: SandboxId): void {
    clearTimeout(this.#restarts.get(id)?.timer);
    this.#restarts.delete(id);
  }

  async #restartByPolicy(id: SandboxId): Promise<void> {
    const pod = this.#deps.standalone.find(id);
    if (pod === undefined || pod.isStopped) return;
    const wasStarted = this.#containerOf(pod)?.state.name === "exited";
    if (wasStarted) this.#deps.standalone.put({ ...pod, restarts: pod.restarts + 1 });
    try {
      await this.#bringUp(detached(this.#ctx, startMs), id);
    } catch (err) {
      // A port that is taken, a registry of devices that is not there yet: it is tried again, more and more rarely.
      this.#ctx.log.warn("standalone pod restart failed", { sandbox: id, err: describe(err) });
      const last = this.#deps.standalone.find(id);
      const container = last && this.#containerOf(last);
      if (last === undefined || last.isStopped || container?.state.name === "running") return;
      this.#schedule(id, restartDelayMs(this.#restarts.get(id)?.delayMs, 0));
    }
  }

  /** Gives the pod its environment, where it has none, and its container a process. */
  async #bringUp(ctx: Context, id: SandboxId): Promise<void> {
    using _lock = await this.#locks.lock(id, ctx.signal);
    const { containerId } = this.#get(id);
    if (containerId === undefined) return;
    const deps = this.#deps;
    const sandbox = deps.sandboxes.get(id);
    const { name } = deps.containers.get(containerId).state;
    if (name === "running") return;
    if (sandbox.state !== "ready") {
      using _claim = this.#claimPorts(id, hostPortsOf(sandbox.config));
      await renewSandbox(ctx, deps, id);
    }
    // A created one has lost its process with the sandbox.
    if (deps.containers.get(containerId).state.name === "exited") {
      await recreateInSandbox(ctx, deps, containerId);
    }
    await startContainer(ctx, deps, containerId);
    if (this.#deps.standalone.find(id)?.isStopped === true) {
      await stopContainer(ctx, deps, containerId, 0); // by somebody who came in the middle
    }
  }

  /** Refuses those that are taken. Until disposed, nobody else is given them; then the sandbox's record says so. */
  #claimPorts(id: SandboxId, wanted: readonly HostPort[]): Disposable {
    const release = { [Symbol.dispose]: () => void this.#claims.delete(id) };
    if (wanted.length === 0) return release;
    const others: PortHolder[] = this.#deps.sandboxes
      .list()
      .filter((one) => one.id !== id && (one.state !== "not-ready" || one.networkAttached))
      .flatMap(({ config }) =>
        hostPortsOf(config).map((port) => ({ ...port, name: () => `pod ${nameOf(config)}` })),
      );
    const claimed: PortHolder[] = [...this.#claims].flatMap(([other, ports]) =>
      other === id ? [] : ports.map((port) => ({ ...port, name: () => "a pod that is starting" })),
    );
    refuseTakenPorts(wanted, [...others, ...claimed, ...listeningPorts()]);
    this.#claims.set(id, wanted);
    return release;
  }

  async #removeDeserted(id: SandboxId): Promise<void> {
    const pod = this.#deps.standalone.find(id);
    if (pod === undefined || !pod.isAttended || this.#attended.has(id)) return;
    this.#ctx.log.info("client of a standalone pod gone", { sandbox: id });
    if (!pod.remove) return this.leave(id);
    if (pod.containerId !== undefined) {
      await stopContainer(
        detached(this.#ctx, removeMs),
        this.#deps,
        pod.containerId,
        desertedGraceMs,
      );
    }
    await this.#remove(id);
  }

  async #remove(id: SandboxId): Promise<void> {
    await removeSandbox(detached(this.#ctx, removeMs), this.#deps, id);
  }

  /** Of a pod that could not be made; where it cannot be removed, the next start of the daemon tries again. */
  async #discard(id: SandboxId, config: pb.PodSandboxConfig): Promise<void> {
    if (this.#deps.sandboxes.find(id) !== undefined) await this.#remove(id);
    this.#deps.standalone.delete(id);
    removeLogs(config);
  }

  #forget({ id, config }: Sandbox): void {
    const pod = this.#deps.standalone.find(id);
    if (pod === undefined) return;
    this.#cancel(id);
    if (pod.containerId !== undefined) this.#attaching.delete(pod.containerId);
    try {
      this.#deps.standalone.delete(id);
      removeLogs(config);
    } catch (err) {
      this.#ctx.log.warn("standalone pod leftovers not removed", {
        sandbox: id,
        cleanup_err: describe(err),
      });
    }
  }

  #background(id: SandboxId, work: () => Promise<void>): void {
    work().catch((err) => {
      this.#ctx.log.error("standalone pod failed", { sandbox: id, err: describe(err) });
    });
  }
}

function bindMount(hostPath: string, containerPath: string, readonly: boolean): pb.Mount {
  return {
    $typeName: "runtime.v1.Mount",
    hostPath,
    containerPath,
    readonly,
    selinuxRelabel: false,
    propagation: MountPropagation.private,
    uidMappings: [],
    gidMappings: [],
    recursiveReadOnly: false,
    imageSubPath: "",
    mountOptions: [],
  };
}

function endOf(pod: StandalonePod, { state }: Container) {
  const exitCode = state.name === "exited" ? state.exitCode : 0;
  return { exitCode, isStopped: pod.isStopped, restarts: pod.restarts };
}

function nameOf({ metadata }: pb.PodSandboxConfig): string {
  const { name = "", namespace = "default" } = metadata ?? {};
  return namespace === "default" ? name : `${namespace}/${name}`;
}

function hostPortsOf(config: pb.PodSandboxConfig): readonly HostPort[] {
  return config.portMappings
    .filter(({ hostPort }) => hostPort > 0)
    .map(({ protocol, hostPort, hostIp }) => {
      return { protocol: protocols[protocol] ?? "tcp", port: hostPort, address: hostIp };
    });
}

/** Whether it is one that `crib run` makes for the logs of a pod: named by a UUID. */
function isOwnLogDirectory(path: string): boolean {
  const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
  return dirname(path) === nodePaths.podLogs && uuid.test(path.slice(nodePaths.podLogs.length + 1));
}

/** Where they are may be said by the client; what is removed is in crib's own directory. */
export function requireOwnLogDirectory({ logDirectory: path }: pb.PodSandboxConfig): void {
  if (isOwnLogDirectory(path)) return;
  throw new AppError(`sandbox_config.log_directory: not ${nodePaths.podLogs}/<UUID>`, {
    kind: "invalid-argument",
  });
}

function removeLogs({ logDirectory: path }: pb.PodSandboxConfig): void {
  if (!isOwnLogDirectory(path)) return;
  rmSync(path, { recursive: true, force: true });
  try {
    rmdirSync(dirname(path)); // the last one takes the directory of all of them along
  } catch {
    // There are others.
  }
}
