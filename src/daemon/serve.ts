import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { adminRoutes } from "../admin/admin-service.ts";
import { detectDriver } from "../cgroup/driver.ts";
import { readCgroupHost } from "../cgroup/host.ts";
import { OpenCgroups } from "../cgroup/stats/open-cgroups.ts";
import { ExitWaiters } from "../container/exit-waiters.ts";
import { MountSources } from "../container/mount-sources.ts";
import { readBlockIoClasses } from "../container/spec/class/block-io.ts";
import { readSpecHost } from "../container/spec/host.ts";
import { createInterceptor } from "../cri/interceptor.ts";
import { Readiness } from "../cri/readiness.ts";
import { criRoutes } from "../cri/services.ts";
import { importDirectory } from "../image/import-directory.ts";
import { type OpenImages, openImages } from "../image/open.ts";
import type { LoadVerifier } from "../image/signatures/admit.ts";
import { watchImports } from "../image/watch-imports.ts";
import type { Context } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import { abortable, KeyedMutex } from "../lib/keyed-mutex.ts";
import { SingleFlight } from "../lib/single-flight.ts";
import { NetworkCounters } from "../network/counters.ts";
import { openCniNetwork } from "../network/network.ts";
import { bootId, openClock } from "../os/clock.ts";
import { setChildSubreaper } from "../os/prctl.ts";
import { Monitors } from "../runtime/monitors.ts";
import { Reaper } from "../runtime/reaper.ts";
import type { SandboxDeps } from "../sandbox/deps.ts";
import { EventHub } from "../sandbox/event-hub.ts";
import { forgetStats } from "../sandbox/stats.ts";
import { supportsUserNamespaces } from "../sandbox/user-namespace.ts";
import { findPolicyFile } from "../signature/policy.ts";
import { openContainers } from "../state/containers.ts";
import { Copies } from "../state/copies.ts";
import { Database } from "../state/database.ts";
import { openImageRecords } from "../state/images.ts";
import { IntentTable } from "../state/intents.ts";
import { openSandboxes } from "../state/sandboxes.ts";
import { StreamingServer } from "../streaming/server.ts";
import { version } from "../version.ts";
import { bindAdmin } from "./bind-admin.ts";
import { bindCri, type Domain, type DomainDeps } from "./bind-cri.ts";
import { bindImports } from "./bind-imports.ts";
import { bindStreaming } from "./bind-streaming.ts";
import { type Config, loadConfig } from "./config.ts";
import { openHandlers } from "./handlers.ts";
import { listen } from "./listen.ts";
import { lockDirectory } from "./lock.ts";
import { openDaemonLog } from "./log-sink.ts";
import { serveMirror } from "./mirror.ts";
import { openNearby } from "./nearby.ts";
import { notify } from "./notify.ts";
import { type LoadNri, openPlugins } from "./plugins.ts";
import { policyFilesOf } from "./policy-files.ts";
import { onExit, recover } from "./recover.ts";
import { clearStaleState } from "./stale-state.ts";

/**
 * The daemon: builds everything, recovers what an earlier one left, serves CRI until SIGTERM or SIGINT. Containers and
 * their monitors go on without it.
 */
export async function serve(
  args: readonly string[],
  parts: { readonly loadNri: LoadNri; readonly loadVerifier: LoadVerifier },
): Promise<void> {
  const config = loadConfig(args);
  const log = openDaemonLog(config.log);
  const stopping = new AbortController();
  const ctx: Context = { signal: stopping.signal, log };
  const stopped = stopSignal();
  await using resources = new AsyncDisposableStack();

  resources.use(lockDirectory(config.root));
  // Two daemons on one state would remove each other's containers as unknown.
  if (config.state !== config.root) resources.use(lockDirectory(config.state));
  clearStaleState(config.state, bootId(), log);
  makeDirectories(config);
  rmSync(`${config.root}/checkpoints`, { recursive: true, force: true });
  setChildSubreaper();
  await startFetching();
  const domain = await openDomain(ctx, config, resources, parts);
  resources.defer(() => settled(domain.deps, config.limits.shutdownSeconds * 1000));
  const readiness = new Readiness();
  resources.use(
    await listen({
      socket: config.socket,
      routes: (router) => {
        criRoutes(bindCri(domain), readiness)(router);
        adminRoutes(bindAdmin(domain))(router);
      },
      interceptors: [createInterceptor({ readiness, log })],
      streamsPerConnection: config.limits.streamsPerConnection,
      shutdownMs: config.limits.shutdownSeconds * 1000,
      log,
    }),
  );
  await recover(ctx, domain.deps);
  await domain.startPlugins();
  readiness.set("ready");
  notify(config.notifySocket, "READY=1");
  log.info("serving", { version, socket: config.socket, root: config.root, state: config.state });
  resources.use(await serveMirror(ctx, config, domain.images));
  const importing = importImages(ctx, config, domain.images);
  resources.defer(() => importing);

  log.info("stopping", { signal: await stopped });
  notify(config.notifySocket, "STOPPING=1");
  readiness.set("stopping");
  stopping.abort(new Error("the daemon is stopping"));
}

/**
 * When the daemon stops: creations whose callers have gone come to their end, or to their undoing. What takes longer
 * is cut off, and undone by the next start.
 */
async function settled({ creations, runs }: SandboxDeps, timeoutMs: number): Promise<void> {
  const work = Promise.all([creations.idle(), runs.idle()]);
  await abortable(work, AbortSignal.timeout(timeoutMs)).catch(() => {});
}

function stopSignal(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => resolve(signal));
  // Whoever started us may hang up; the log then loses lines (log-sink.ts), and nothing else happens.
  process.on("SIGHUP", () => {});
  return promise;
}

/** The engine makes the thread of `fetch` when it is first needed, and ends the process where it cannot: so, now. */
async function startFetching(): Promise<void> {
  await fetch("http://localhost/", { unix: "/dev/null" }).catch(() => {});
}

/** Only root looks into them. Containers in user namespaces pass through `<state>`, hence 0711 there. */
function makeDirectories({ root, state }: Config): void {
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
async function openDomain(
  ctx: Context,
  config: Config,
  resources: AsyncDisposableStack,
  { loadNri, loadVerifier }: Parameters<typeof serve>[1],
): Promise<Domain & { readonly startPlugins: () => Promise<void> }> {
  const database = resources.use(Database.open(`${config.root}/state.db`, ctx.log));
  const copies = (dir: string, durable = false) => new Copies(dir, { durable, log: ctx.log });
  const policyFiles = policyFilesOf(config);
  ctx.log.info("signature policy", { file: findPolicyFile(policyFiles) ?? "none" });
  const images = await openImages(ctx, {
    root: config.root,
    nearby: await openNearby(ctx, config, resources),
    peers: {
      urls: config.mirror.peers,
      ca: config.mirror.peersCaFile,
      resolveTags: config.mirror.peersResolveTags === "yes",
    },
    signatures: { policyFiles, loadVerifier },
    records: openImageRecords(database, copies(`${config.root}/records/images`, true)),
    bootId: bootId(),
    registry: {
      configDirs: config.images.registryConfigDirs,
      registriesFiles: config.images.registriesFiles,
      dockerConfigFiles: config.images.dockerConfigFiles,
      proxy: config.proxy,
    },
    keepsBlobs: config.images.keepBlobs,
    transfer: {
      parallelLayers: config.images.maxParallelDownloads,
      parallelUnpacks: config.images.maxParallelUnpacks,
      bytesPerSecond: config.images.maxBytesPerSecond,
      stallMs: config.images.stallSeconds * 1000,
    },
  });
  const cgroup = readCgroupHost();
  const namespacesPath = `${config.payload}/namespaces`;
  const cgroupDriver = detectDriver(config.cgroup.driver, cgroup);
  const reaper = resources.use(new Reaper());
  // Monitors tell what has ended as soon as they are found; it is taken note of when all of this is built.
  const built = Promise.withResolvers<SandboxDeps>();
  const monitors = resources.use(
    await Monitors.open(ctx, {
      stateDir: config.state,
      reaper,
      onExit: (exit) =>
        built.promise
          .then((domain) => onExit(ctx, domain, exit))
          .catch((err) =>
            ctx.log.error("record an exit", { container: exit.container, err: describe(err) }),
          ),
    }),
  );
  const containers = openContainers(database, copies(`${config.state}/records/containers`));
  const sandboxes = openSandboxes(database, copies(`${config.state}/records/sandboxes`));
  const clock = openClock();
  const events = new EventHub({
    findSandbox: (id) => sandboxes.find(id),
    listContainers: () => containers.list(),
    clock,
    signal: ctx.signal,
  });
  const cgroups = resources.use(new OpenCgroups(cgroup));
  const networkCounters = resources.use(new NetworkCounters());
  events.onEvent((event) => forgetStats({ cgroups, networkCounters, cgroupDriver }, event));
  const plugins = openPlugins(ctx, config, resources, { loadNri, deps: () => deps });
  const deps: DomainDeps = {
    stateDir: config.state,
    checkpointDir: `${config.root}/checkpoints`,
    containers,
    sandboxes,
    events,
    cgroups,
    networkCounters,
    intents: new IntentTable(database),
    commit: (write) => database.transaction(write),
    images: images.images,
    snapshots: images.snapshots,
    handlers: await openHandlers(ctx, config, cgroupDriver === "systemd"),
    monitors,
    reaper,
    cgroup,
    cgroupDriver,
    host: readSpecHost({
      openFiles: { soft: config.containers.openFiles, hard: config.containers.maxOpenFiles },
      cdiSpecDirs: config.containers.cdiSpecDirs,
      blockIoClasses: readBlockIoClasses(config.containers.blockioFile),
    }),
    mountSources: new MountSources(),
    network: openCniNetwork({
      confDirs: config.network.confDirs,
      pluginDirs: config.network.pluginDirs,
      cacheDir: `${config.root}/network`,
      stateDir: `${config.state}/network`,
      fallback: config.network.default,
      embeddedPluginDir: `${config.payload}/cni`,
    }),
    get plugins() {
      return plugins.hooks;
    },
    pausePath: `${config.payload}/pause`,
    namespacesPath,
    userNamespaces: await supportsUserNamespaces(ctx, {
      stateDir: config.state,
      snapshots: images.snapshots,
      namespacesPath,
    }),
    locks: new KeyedMutex(),
    sandboxLocks: new KeyedMutex(),
    starting: new Map(),
    stopping: new Set(),
    creations: new SingleFlight(),
    runs: new SingleFlight(),
    exits: new ExitWaiters(),
    clock,
    bootId: bootId(),
  };
  built.resolve(deps);
  const streaming = resources.use(new StreamingServer(ctx, bindStreaming(deps), config.streaming));
  return { config, deps, images, streaming, startPlugins: plugins.start };
}

/** In the background, until the context ends. */
async function importImages(ctx: Context, config: Config, images: OpenImages): Promise<void> {
  const directory = `${config.root}/images`;
  const deps = bindImports(images, config.images.importRegistries);
  await watchImports(ctx, directory, (look) => importDirectory(ctx, deps, directory, look));
}
