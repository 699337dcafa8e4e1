import { chmodSync, mkdirSync } from "node:fs";
import { detectDriver } from "../../cgroup/driver.ts";
import { readCgroupHost } from "../../cgroup/host.ts";
import { OpenCgroups } from "../../cgroup/stats/open-cgroups.ts";
import { ContainerProcesses } from "../../container/exec/container-process.ts";
import { ExitWaiters } from "../../container/exit-waiters.ts";
import { MountSources } from "../../container/source/mount-sources.ts";
import { readBlockIoClasses } from "../../container/spec/class/block-io.ts";
import { readSpecHost } from "../../container/spec/host.ts";
import type { LoadVerifier } from "../../image/signatures/admit.ts";
import type { Context } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import { KeyedMutex } from "../../lib/keyed-mutex.ts";
import { SingleFlight } from "../../lib/single-flight.ts";
import { inStep } from "../../lib/step.ts";
import { CniNetwork, embeddedAddressDir } from "../../network/cni-network.ts";
import { forgetOtherBoots } from "../../network/embedded/boot-stamp.ts";
import { NetworkCounters } from "../../network/inside/counters.ts";
import { prepareNetnsDirectory } from "../../network/namespace/node-netns.ts";
import { bootId, openClock, realtimeNs } from "../../os/clock.ts";
import { CommandServer } from "../../os/process/command-server.ts";
import { ProfileStore } from "../../profile/profile-store.ts";
import type { RegistryOptions } from "../../registry/client.ts";
import { Monitors } from "../../runtime/monitor/monitors.ts";
import { Filters } from "../../runtime/oci/direct/filters.ts";
import { PreparedExecs } from "../../runtime/oci/prepared-execs.ts";
import { TaskExits } from "../../runtime/oci/task-exits.ts";
import { OutputPool } from "../../runtime/output-pool.ts";
import { Reaper } from "../../runtime/reaper.ts";
import type { SandboxDeps } from "../../sandbox/deps.ts";
import { whyNoUserNamespaces } from "../../sandbox/environment/user-namespace.ts";
import { EventHub } from "../../sandbox/events/event-hub.ts";
import { forgetStats } from "../../sandbox/usage/stats.ts";
import { SandboxWatch } from "../../sandbox/watch.ts";
import { StandalonePods } from "../../standalone/pods.ts";
import { NamedVolumes } from "../../standalone/volumes.ts";
import { openContainers } from "../../state/containers.ts";
import { Copies } from "../../state/copies.ts";
import { Database } from "../../state/database.ts";
import { openImageRecords } from "../../state/images.ts";
import { IntentTable } from "../../state/intents.ts";
import { openSandboxes } from "../../state/sandboxes.ts";
import { openStandalone } from "../../state/standalone.ts";
import type { Config } from "../config/config.ts";
import { forgetUnrecorded } from "../recover.ts";
import type { Domain, DomainDeps } from "./bind-cri.ts";
import { openDirectCreate } from "./direct-create.ts";
import { openDirectExec } from "./direct-exec.ts";
import {
  annotationPatternsOf,
  type LoadShims,
  openPrograms,
  openRuntimes,
  openShims,
  prepareRuntimes,
} from "./handlers.ts";
import { imageSettingsOf, openNodeImages } from "./images.ts";
import { type LoadNri, openPlugins } from "./plugins.ts";

/** Loaded when there is something to do for them. */
export interface DomainParts {
  readonly loadNri: LoadNri;
  readonly loadVerifier: LoadVerifier;
  readonly loadRegistries: RegistryOptions["loadRegistries"];
  readonly loadShims: LoadShims;
}

/** What the CRI services need, without the streaming server. */
export type OpenedDomain = Omit<Domain, "streaming"> & {
  readonly monitors: Monitors;
  readonly startPlugins: () => Promise<void>;
  /** Puts the settings in force that need no restart; throws, and changes nothing, where they do not work. */
  readonly reconfigure: (next: Config) => Promise<void>;
};

/** Only root looks into them. Containers in user namespaces pass through `<state>`, hence 0711 there. */
export function makeDirectories({ root, state }: Config): void {
  for (const [path, mode] of [
    [root, 0o700],
    [state, 0o711],
    [`${state}/sandboxes`, 0o711],
    [`${state}/containers`, 0o711],
    [`${state}/runtime`, 0o700],
  ] as const) {
    mkdirSync(path, { recursive: true, mode });
    chmodSync(path, mode);
  }
}

/** The object graph below the CRI services. `resources` takes what has to be closed. */
export async function openDomain(
  ctx: Context,
  config: Config,
  resources: AsyncDisposableStack,
  { loadNri, loadVerifier, loadRegistries, loadShims }: DomainParts,
): Promise<OpenedDomain> {
  const cgroup = readCgroupHost();
  const cgroupDriver = detectDriver(config.cgroup.driver, cgroup);
  // The OCI runtimes are asked what they can do while all else is built.
  const opening = openPrograms(ctx, config, cgroupDriver === "systemd");
  opening.catch(() => {});
  const database = resources.use(Database.open(`${config.root}/state.db`, ctx.log));
  const copies = (dir: string, durable = false) => new Copies(dir, { durable, log: ctx.log });
  const images = await inStep(ctx, "recovery.images", () =>
    openNodeImages(ctx, config, resources, {
      records: openImageRecords(database, copies(`${config.root}/records/images`, true)),
      loadVerifier,
      loadRegistries,
    }),
  );
  const profiles = new ProfileStore(`${config.root}/profiles`, ctx.log);
  const { run } = resources.use(new CommandServer(`${config.payload}/commands`));
  const namespacesProgram = { path: `${config.payload}/namespaces`, run };
  const reaper = resources.use(new Reaper());
  const filters = resources.use(new Filters(`${config.payload}/lib/libseccomp.so.2`));
  const directExec = openDirectExec(ctx, config, filters, resources);
  await prepareNetnsDirectory(ctx);
  await forgetOtherBoots(ctx, embeddedAddressDir, bootId());
  const exits = new TaskExits();
  const built = Promise.withResolvers<SandboxDeps>();
  const monitors = resources.use(
    await Monitors.open(ctx, {
      stateDir: config.state,
      reaper,
      onExit: ({ container, record }) => {
        exits.report(container, record);
        built.promise
          .then((domain) => forgetUnrecorded(ctx, domain, monitors, container))
          .catch((err) =>
            ctx.log.warn("exit record not removed", { container, err: describe(err) }),
          );
      },
    }),
  );
  const containers = openContainers(database, copies(`${config.state}/records/containers`));
  const sandboxes = openSandboxes(database, copies(`${config.state}/records/sandboxes`));
  database.filled();
  const records = openStandalone(`${config.root}/standalone`, ctx.log);
  const events = new EventHub({
    findSandbox: (id) => sandboxes.find(id),
    listContainers: () => containers.list(),
    clock: openClock(),
    signal: ctx.signal,
  });
  const cgroups = resources.use(new OpenCgroups(cgroup));
  const networkCounters = resources.use(new NetworkCounters());
  events.onEvent((event) => forgetStats({ cgroups, networkCounters, cgroupDriver }, event));
  const ociNode = {
    monitors,
    exits,
    reaper,
    cgroup,
    cgroups,
    direct: directExec && {
      exec: directExec,
      prepared: new PreparedExecs(directExec, cgroup),
    },
    directCreate: openDirectCreate(ctx, config, { cgroup, cgroupDriver, filters }),
    filters,
    execOutput: new OutputPool(),
    createMs: config.runtime.createTimeoutSeconds * 1000,
    socketDir: config.state,
  };
  const shims = await openShims(
    ctx,
    config,
    cgroupDriver === "systemd",
    ociNode,
    resources,
    loadShims,
  );
  const annotationPatterns = annotationPatternsOf(config);
  const runtimes = openRuntimes(config, await opening, shims, ociNode);
  const plugins = openPlugins(ctx, config, resources, { loadNri, deps: () => deps });
  const deps: DomainDeps = {
    stateDir: config.state,
    checkpointDir: `${config.root}/checkpoints`,
    restorePolicy: {
      directories: config.checkpoint.restoreFrom,
      maxBytes: config.checkpoint.maxBytes,
    },
    containers,
    sandboxes,
    events,
    cgroups,
    networkCounters,
    intents: new IntentTable(database, ctx.log),
    commit: (write) => database.transaction(write),
    standalone: records,
    volumes: new NamedVolumes(`${config.root}/volumes`),
    logLimits: (sandbox) => {
      const log = records.find(sandbox)?.log;
      return log === undefined || log.maxSizeBytes === 0 ? undefined : log;
    },
    flush: (id) => database.durably(() => sandboxes.put(sandboxes.get(id))),
    images: images.images,
    snapshots: images.snapshots,
    ...runtimes,
    annotationPatterns,
    processes: new ContainerProcesses(config.state),
    cgroup,
    cgroupDriver,
    host: readSpecHost(cgroup, {
      openFiles: { soft: config.containers.openFiles, hard: config.containers.maxOpenFiles },
      cdiSpecDirs: config.containers.cdiSpecDirs,
      blockIoClasses: readBlockIoClasses(config.containers.blockioFile),
    }),
    mountSources: new MountSources(),
    profiles,
    network: new CniNetwork({
      confDirs: config.network.confDirs,
      pluginDirs: config.network.pluginDirs,
      cacheDir: `${config.root}/network`,
      stateDir: `${config.state}/network`,
      fallback: config.network.default,
      embeddedPluginDir: `${config.payload}/cni`,
      links: { path: `${config.payload}/links`, run },
    }),
    get plugins() {
      return plugins.hooks;
    },
    pausePath: `${config.payload}/pause`,
    processPerNetwork: config.compat.containerdSocket !== "",
    namespacesProgram,
    userNamespaces: await whyNoUserNamespaces(ctx, {
      stateDir: config.state,
      snapshots: images.snapshots,
      namespacesProgram,
    }),
    locks: new KeyedMutex(),
    sandboxLocks: new KeyedMutex(),
    background: ctx,
    starting: new Map(),
    stopping: new Set(),
    creations: new SingleFlight(),
    runs: new SingleFlight(),
    exits: new ExitWaiters(),
    createMs: config.runtime.createTimeoutSeconds * 1000,
    clock: realtimeNs,
    bootId: bootId(),
  };
  const standalone = resources.use(new StandalonePods(ctx, deps));
  events.onEvent((event) => standalone.onEvent(event));
  built.resolve(deps);
  const watch = resources.use(new SandboxWatch(ctx, deps));
  const { start: startPlugins } = plugins;
  let inForce = config;
  const reconfigure = async (next: Config) => {
    const isSystemd = cgroupDriver === "systemd";
    const apply = await prepareRuntimes(ctx, inForce, next, isSystemd, {
      node: ociNode,
      ...{ runtimes: runtimes.runtimes, annotationPatterns },
    });
    images.reconfigure(imageSettingsOf(next, loadVerifier));
    apply();
    inForce = next;
  };
  const parts = { config, deps, images, profiles, monitors, standalone, watch };
  return { ...parts, startPlugins, reconfigure };
}
