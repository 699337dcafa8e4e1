import { rmSync } from "node:fs";
import { adminRoutes } from "../admin/admin-service.ts";
import { CallsInProgress } from "../cri/call/calls-in-progress.ts";
import { createInterceptor } from "../cri/call/interceptor.ts";
import { Readiness } from "../cri/call/readiness.ts";
import { criRoutes } from "../cri/services.ts";
import { upgradeMarkOf } from "../executable/upgrade-mark.ts";
import { importDirectory } from "../image/imports/import-directory.ts";
import { watchImports } from "../image/imports/watch-imports.ts";
import type { OpenImages } from "../image/open.ts";
import { abortable } from "../lib/abortable.ts";
import type { Context } from "../lib/context.ts";
import { failedPrecondition } from "../lib/errors.ts";
import { bootId } from "../os/clock.ts";
import { setChildSubreaper } from "../os/process/prctl.ts";
import type { SandboxDeps } from "../sandbox/deps.ts";
import { StreamingServer } from "../streaming/server.ts";
import { version } from "../version.ts";
import {
  type Config,
  type LoadConfigFile,
  loadConfig,
  takeProxyVariables,
} from "./config/config.ts";
import { LiveConfig } from "./config/reload.ts";
import { bindAdmin } from "./graph/bind-admin.ts";
import { bindCri } from "./graph/bind-cri.ts";
import { bindImports } from "./graph/bind-imports.ts";
import { bindStreaming } from "./graph/bind-streaming.ts";
import { type DomainParts, makeDirectories, openDomain } from "./graph/domain.ts";
import { handlersThatNeedRestart } from "./graph/handlers.ts";
import { type LoadContainerdApi, serveContainerdSocket } from "./listen/containerd-socket.ts";
import { RequestQueues } from "./listen/grpc-handler.ts";
import { listen } from "./listen/listen.ts";
import { serveMirror } from "./listen/mirror.ts";
import { socketLost, watchSocket } from "./listen/watch-socket.ts";
import { lockDirectory } from "./lock.ts";
import { openDaemonLog } from "./log-sink.ts";
import type { LoadMetrics } from "./metrics/open-metrics.ts";
import { notify } from "./notify.ts";
import { openObservers } from "./observe.ts";
import { recover } from "./recover.ts";
import { activityOf, dumpOnSignal, reloadOnSignal, stopSignal } from "./signals.ts";
import { clearStaleState } from "./stale-state.ts";
import type { LoadTraces } from "./traces/open-traces.ts";

/** What is loaded where the node needs it. */
export interface ServeParts extends DomainParts {
  readonly loadContainerdApi: LoadContainerdApi;
  readonly loadConfigFile: LoadConfigFile;
  readonly loadMetrics: LoadMetrics;
  readonly loadTraces: LoadTraces;
}

/**
 * The daemon: builds everything, recovers what an earlier one left, serves CRI until SIGTERM or SIGINT. Containers and
 * their monitors go on without it.
 */
export async function serve(args: readonly string[], parts: ServeParts): Promise<void> {
  const variables = takeProxyVariables();
  const load = () => loadConfig(args, variables, parts.loadConfigFile);
  const loaded = await load();
  const { config } = loaded;
  const leveled = { level: config.log.level };
  const log = openDaemonLog(config.log, leveled);
  const stopping = new AbortController();
  const calls = new CallsInProgress();
  const stopped = stopSignal();
  await using resources = new AsyncDisposableStack();
  const { loadMetrics, loadTraces } = parts;
  const observers = await openObservers(log, config, calls, resources, {
    ...{ environment: variables, loadMetrics, loadTraces },
  });
  const { step, count } = observers;
  const ctx: Context = { signal: stopping.signal, log, step, count };

  resources.use(lockDirectory(config.root));
  // Two daemons on one state would remove each other's containers as unknown.
  if (config.state !== config.root) resources.use(lockDirectory(config.state));
  clearStaleState(config.state, bootId(), log);
  makeDirectories(config);
  rmSync(`${config.root}/checkpoints`, { recursive: true, force: true });
  setChildSubreaper();
  await startFetching();
  const domain = await openDomain(ctx, config, resources, parts);
  const { deps } = domain;
  const streaming = resources.use(
    new StreamingServer(ctx, bindStreaming(deps, domain.standalone), config.streaming),
  );
  resources.defer(() => settled(deps, config.limits.shutdownSeconds * 1000));
  const readiness = new Readiness();
  dumpOnSignal(log, { ...domain, calls });
  const activity = () => activityOf({ ...domain, calls });
  const interceptors = [...observers.interceptors, createInterceptor({ readiness, log, calls })];
  const queues = new RequestQueues();
  resources.use(await observers.serve(ctx, { ...domain, calls, readiness, queues }));
  const live = new LiveConfig(loaded, {
    ...{ log, load },
    async apply(next) {
      await domain.reconfigure(next);
      leveled.level = next.log.level;
    },
    heldHandlers: (now, next) => handlersThatNeedRestart(now.runtime, next.runtime),
  });
  reloadOnSignal(() => live.reload());
  resources.use(
    await listen({
      socket: config.socket,
      routes: (router) => {
        criRoutes(bindCri({ ...domain, streaming }), readiness)(router);
        adminRoutes(bindAdmin({ ...domain, live, activity }))(router);
      },
      ...{ interceptors, queues },
      streamsPerConnection: config.limits.streamsPerConnection,
      shutdownMs: config.limits.shutdownSeconds * 1000,
      log,
    }),
  );
  // Before the node is ready: its kubelet looks for it once, when it starts.
  const { loadContainerdApi } = parts;
  const served = { interceptors, log, loadContainerdApi };
  resources.use(await serveContainerdSocket(config, domain, served));
  await recover(ctx, deps);
  await domain.startPlugins();
  readiness.set("ready");
  notify(config.notifySocket, "READY=1");
  // An upgrade has come to its end: the service does not go back to the version before.
  rmSync(upgradeMarkOf(config.executable), { force: true });
  domain.standalone.recover();
  log.info("serving", { version, socket: config.socket, root: config.root, state: config.state });
  resources.use(await serveMirror(ctx, config, domain.images));
  const importing = importImages(ctx, config, domain.images);
  resources.defer(() => importing);

  using socket = watchSocket(config.socket);
  const reason = await Promise.race([stopped, socket.lost]);
  log.info("stopping", { signal: reason });
  notify(config.notifySocket, "STOPPING=1");
  readiness.set("stopping");
  stopping.abort(new Error("the daemon is stopping"));
  if (reason === socketLost) {
    throw failedPrecondition(
      `serve: ${config.socket} is not there any more: was ${config.state} emptied? A new start makes it again`,
    );
  }
}

/**
 * When the daemon stops: creations whose callers have gone come to their end, or to their undoing. What takes longer
 * is cut off, and undone by the next start.
 */
async function settled(
  { creations, runs }: Pick<SandboxDeps, "creations" | "runs">,
  timeoutMs: number,
): Promise<void> {
  const work = Promise.all([creations.idle(), runs.idle()]);
  await abortable(work, AbortSignal.timeout(timeoutMs)).catch(() => {});
}

/** The engine makes the thread of `fetch` when it is first needed, and ends the process where it cannot: so, now. */
async function startFetching(): Promise<void> {
  await fetch("http://localhost/", { unix: "/dev/null" }).catch(() => {});
}

/** In the background, until the context ends. */
async function importImages(ctx: Context, config: Config, images: OpenImages): Promise<void> {
  const directory = `${config.root}/images`;
  const deps = bindImports(images, config.images.importRegistries);
  await watchImports(ctx, directory, (look) => importDirectory(ctx, deps, directory, look));
}
