import { bundleOf, readConfig } from "../../bundle/bundle.ts";
import type { OpenCgroups } from "../../cgroup/stats/open-cgroups.ts";
import { type ExecDeps, execInContainer } from "../../container/exec/exec.ts";
import { removeContainer } from "../../container/remove.ts";
import { reopenLog } from "../../container/reopen-log.ts";
import { startContainer } from "../../container/start.ts";
import { readContainerStats } from "../../container/stats.ts";
import { stopContainer } from "../../container/stop.ts";
import { updateResources } from "../../container/update.ts";
import { imageUser } from "../../container/user/image-user.ts";
import type { CriDeps } from "../../cri/deps.ts";
import { filesystemUsage } from "../../image/filesystem-usage.ts";
import type { OpenImages } from "../../image/open.ts";
import { pullImage } from "../../image/pull.ts";
import { removeImage } from "../../image/remove.ts";
import { KeyedMutex } from "../../lib/keyed-mutex.ts";
import type { NetworkCounters } from "../../network/inside/counters.ts";
import type { Digest } from "../../oci/digest.ts";
import { parseReference } from "../../oci/reference.ts";
import type { ProfileStore } from "../../profile/profile-store.ts";
import { pullProfile } from "../../profile/pull.ts";
import { addContainer } from "../../sandbox/add-container.ts";
import { checkpoint } from "../../sandbox/checkpoint.ts";
import type { SandboxDeps } from "../../sandbox/deps.ts";
import type { EventHub } from "../../sandbox/events/event-hub.ts";
import { inspectSandbox } from "../../sandbox/inspect.ts";
import { removeSandbox } from "../../sandbox/remove.ts";
import { runSandbox } from "../../sandbox/run.ts";
import { stopSandbox } from "../../sandbox/stop.ts";
import { updateSandboxResources } from "../../sandbox/update-resources.ts";
import { readMetrics } from "../../sandbox/usage/metrics.ts";
import { readPodStats } from "../../sandbox/usage/stats.ts";
import type { SandboxWatch } from "../../sandbox/watch.ts";
import type { StandaloneDeps, StandalonePods } from "../../standalone/pods.ts";
import type { StreamingServer } from "../../streaming/server.ts";
import { parts, version } from "../../version.ts";
import type { Config } from "../config/config.ts";
import { pinnedBy } from "./pinned.ts";

export type DomainDeps = SandboxDeps &
  StandaloneDeps &
  ExecDeps & {
    readonly events: EventHub;
    readonly cgroups: OpenCgroups;
    readonly networkCounters: NetworkCounters;
  };

export interface Domain {
  readonly config: Config;
  readonly deps: DomainDeps;
  readonly images: OpenImages;
  readonly profiles: ProfileStore;
  readonly watch: SandboxWatch;
  readonly standalone: StandalonePods;
  readonly streaming: Pick<StreamingServer, "url" | "endForwards">;
}

/** The operations as the CRI services call them. */
export function bindCri({
  config,
  deps,
  images,
  profiles,
  standalone,
  watch,
  streaming,
}: Domain): CriDeps {
  const { sandboxes, containers, runtimes, network } = deps;
  return {
    streaming,
    sandboxes: {
      list: () => {
        watch.checkAll();
        return sandboxes.list().filter(({ state }) => state !== "starting");
      },
      find: (id) => {
        const sandbox = sandboxes.resolve(id);
        if (sandbox === undefined || sandbox.state === "starting") return undefined;
        return watch.check(sandbox);
      },
      inspect: (sandbox) => inspectSandbox(deps, sandbox),
      run: (ctx, sandboxConfig, handler) => runSandbox(ctx, deps, sandboxConfig, handler),
      async stop(ctx, id) {
        standalone.noteStop(id);
        streaming.endForwards(id);
        await stopSandbox(ctx, deps, id);
      },
      remove: (ctx, id) => removeSandbox(ctx, deps, id),
      updateResources: (ctx, id, change) => updateSandboxResources(ctx, deps, id, change),
    },
    containers: {
      list: () => containers.list(),
      find: (id) => containers.resolve(id),
      spec: (id) => readConfig(bundleOf(deps.stateDir, id)),
      create: (ctx, sandbox, containerConfig) => addContainer(ctx, deps, sandbox, containerConfig),
      start: (ctx, id) => startContainer(ctx, deps, id),
      async stop(ctx, id, seconds) {
        const container = containers.find(id);
        if (container !== undefined) standalone.noteStop(container.sandboxId);
        await stopContainer(ctx, deps, id, seconds * 1000);
      },
      remove: (ctx, id) => removeContainer(ctx, deps, id),
      execSync: (ctx, id, options) => execInContainer(ctx, deps, id, options),
      reopenLog: (ctx, id) => reopenLog(ctx, deps, id),
      checkpoint: (ctx, id, options) => checkpoint(ctx, deps, id, options),
      updateResources: (ctx, id, resources) => updateResources(ctx, deps, id, resources),
    },
    images: {
      list: () => images.images.list(),
      find: (name) => images.images.find(name),
      pull: (ctx, name, auth) => pullImage(ctx, images, parseReference(name), { auth }),
      remove: (ctx, name) => removeImage(ctx, images, name),
      usage: (ctx) => filesystemUsage(ctx, images, [profiles.usage()]),
      userOf: (image) => imageUser(image.config),
      isPinned: pinnedBy(config.images.pinned),
    },
    profiles: bindProfiles(images, profiles),
    stats: {
      ofContainers: (ctx, wanted) => readContainerStats(ctx, deps, wanted),
      ofPods: (ctx, wanted) => readPodStats(ctx, deps, wanted),
      metrics: (ctx) => readMetrics(ctx, { ...deps, filesystem: images.layers.directory }),
      accounts: deps.cgroups.accounts,
      mountpoint: images.layers.directory,
    },
    events: deps.events,
    node: {
      version,
      parts,
      cgroupDriver: deps.cgroupDriver,
      // Handlers come and go with a reload of the configuration.
      get handlers() {
        return [...runtimes].map(([name, { features }]) => ({
          ...features,
          name,
          userNamespaces: features.userNamespaces && deps.userNamespaces === undefined,
        }));
      },
      get defaultHandler() {
        return runtimes.get("")?.name ?? config.runtime.defaultHandler;
      },
      whyNoUserNamespaces: deps.userNamespaces,
      sandboxImage: config.sandboxImage,
      rootDir: config.root,
      stateDir: config.state,
      networkStatus: async (ctx) => {
        const { ready, ...why } = await network.status(ctx);
        return { status: ready, ...why };
      },
      setPodCidr: async (_ctx, podCidr) => network.setPodCidr(podCidr),
      now: deps.clock,
    },
  };
}

function bindProfiles(images: OpenImages, profiles: ProfileStore): CriDeps["profiles"] {
  const deps = { ...images, profiles, pulls: new KeyedMutex<Digest>() };
  return {
    list: () => profiles.list(),
    pull: (ctx, ref, auth) => pullProfile(ctx, deps, ref, auth),
    remove: (digest) => profiles.remove(digest),
  };
}
