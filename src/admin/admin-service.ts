import type { ConnectRouter, ServiceImpl } from "@connectrpc/connect";
import type { StepInProgress } from "../cri/call/calls-in-progress.ts";
import { contextOf } from "../cri/call/interceptor.ts";
import { checkLabels } from "../cri/request/check-metadata.ts";
import * as pb from "../gen/crib/admin/v1/admin_pb.ts";
import { invalidArgument } from "../lib/errors.ts";
import type { AdminDeps, UsedVolume } from "./deps.ts";
import { importImages } from "./import-images.ts";
import { toImageLayers, toVerifyImagesResponse } from "./messages.ts";
import { pullWithProgress } from "./pull-image.ts";
import { parseRunPod } from "./run-pod.ts";

const maxImages = 1000;
const maxNameLength = 512;
const maxSignal = 64;

/** What the CRI socket serves beyond CRI, for crib's own command line. */
export function adminRoutes(deps: AdminDeps): (router: ConnectRouter) => void {
  return (router) => {
    router.service(pb.AdminService, createAdminService(deps));
  };
}

function createAdminService(deps: AdminDeps): ServiceImpl<typeof pb.AdminService> {
  return {
    importImages: (requests, handler) => importImages(contextOf(handler), deps, requests),

    async *exportImages({ images, format, compressLayers }, handler) {
      if (images.length === 0 || images.length > maxImages) {
        throw invalidArgument(`images: from 1 to ${maxImages}`);
      }
      const isDocker = format === pb.ArchiveFormat.DOCKER;
      if (isDocker && compressLayers) throw invalidArgument("layers of a docker-archive are plain");
      const keys = images.map(checkName);
      const options = { format: isDocker ? "docker" : "oci", compressLayers } as const;
      for await (const chunk of deps.exportImages(contextOf(handler), keys, options)) {
        yield { chunk };
      }
    },

    pullImage({ image, credentials }, handler) {
      return pullWithProgress(contextOf(handler), deps, checkName(image), credentials);
    },

    listImageLayers({ image }) {
      const found = deps.listLayers(image === "" ? undefined : checkName(image));
      return { images: found.map(toImageLayers) };
    },

    async *verifyImages({ images, repair }, handler) {
      if (images.length > maxImages) throw invalidArgument(`images: at most ${maxImages}`);
      const options = { keys: images.map(checkName), repair };
      for await (const verdict of deps.verify(contextOf(handler), options)) {
        yield toVerifyImagesResponse(verdict);
      }
    },

    async *runPod(request, handler) {
      const ctx = contextOf(handler);
      const options = parseRunPod(request);
      const { sandboxId, containerId } = await deps.standalone.run(ctx, options);
      const response = { podSandboxId: sandboxId, containerId };
      if (!options.isAttended) {
        yield response;
        return;
      }
      using _attendance = deps.standalone.attend(sandboxId);
      yield response;
      await aborted(ctx.signal);
    },

    async *attendPod({ podSandboxId }, handler) {
      using _attendance = deps.standalone.attend(podSandboxId);
      yield {};
      await aborted(handler.signal);
    },

    leavePod({ podSandboxId }) {
      deps.standalone.leave(podSandboxId);
      return {};
    },

    async startPod({ podSandboxId, afterAttach }, handler) {
      await deps.standalone.start(contextOf(handler), podSandboxId, { afterAttach });
      return {};
    },

    async restartPod({ podSandboxId, timeout }, handler) {
      await deps.standalone.restart(contextOf(handler), podSandboxId, timeout * 1000);
      return {};
    },

    async renamePod({ podSandboxId, name }, handler) {
      await deps.standalone.rename(contextOf(handler), podSandboxId, name);
      return {};
    },

    async signalContainer({ containerId, signal }, handler) {
      if (signal < 1 || signal > maxSignal) throw invalidArgument(`signal ${signal}: from 1 to 64`);
      await deps.containers.signal(contextOf(handler), containerId, signal);
      return {};
    },

    async pauseContainer({ containerId }, handler) {
      await deps.containers.pause(contextOf(handler), containerId);
      return {};
    },

    async unpauseContainer({ containerId }, handler) {
      await deps.containers.unpause(contextOf(handler), containerId);
      return {};
    },

    listPausedContainers() {
      return { containerIds: [...deps.containers.listPaused()] };
    },

    tagImage({ image, name }) {
      return { names: [...deps.tag(checkName(image), checkName(name))] };
    },

    untagImage({ name }) {
      deps.untag(checkName(name));
      return {};
    },

    pruneDownloads({ dryRun }) {
      return { bytes: BigInt(deps.pruneDownloads({ dryRun })) };
    },

    createVolume({ name, labels }) {
      checkLabels(labels);
      return { volume: toVolume(deps.volumes.create(name, labels)) };
    },

    listVolumes() {
      return { volumes: deps.volumes.list().map(toVolume) };
    },

    removeVolume({ name }) {
      deps.volumes.remove(name);
      return {};
    },

    getConfig() {
      const { files, settings } = deps.config.describe();
      const described = settings.map(({ key, value, origin }) => {
        return { key, value: JSON.stringify(value), origin };
      });
      return { files: [...files], settings: described };
    },

    async reloadConfig() {
      const { changed, needRestart } = await deps.config.reload();
      return { changed: [...changed], needRestart: [...needRestart] };
    },

    getActivity() {
      const { counts, calls, background, creations } = deps.activity();
      return {
        counts: Object.fromEntries(
          Object.entries(counts).map(([name, count]) => [name, BigInt(count)]),
        ),
        calls: calls
          .filter(({ rpc }) => rpc !== "GetActivity")
          .map(({ rpc, subject, ageMs, steps }) => ({
            rpc,
            subject: asStrings(subject),
            ageMs: BigInt(ageMs),
            steps: steps.map(stepMessage),
          })),
        background: background.map(stepMessage),
        creations: creations.map(({ container, sandbox }) => {
          return { containerId: container, podSandboxId: sandbox };
        }),
      };
    },

    async getDiskUsage(_request, handler) {
      const usage = await deps.diskUsage(contextOf(handler));
      const part = ({ usedBytes, inodes }: { usedBytes: number; inodes: number }) => {
        return { usedBytes: BigInt(usedBytes), inodes: BigInt(inodes) };
      };
      return {
        images: part(usage.images),
        containers: part(usage.containers),
        logs: part(usage.logs),
        reclaimableBytes: BigInt(usage.reclaimableBytes),
        imageCount: usage.imageCount,
        containerCount: usage.containerCount,
        filesystemBytes: BigInt(usage.filesystemBytes),
        filesystemFreeBytes: BigInt(usage.filesystemFreeBytes),
        mountpoint: usage.images.mountpoint,
      };
    },
  };
}

function toVolume({ createdAt, usedBy, labels, name, path }: UsedVolume) {
  const time = BigInt(createdAt.getTime()) * 1_000_000n;
  return { name, path, createdAt: time, labels: { ...labels }, usedBy: [...usedBy] };
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => resolve(), { once: true });
  await promise;
}

function checkName(name: string): string {
  if (name.length <= maxNameLength && /^[\x21-\x7e]+$/.test(name)) return name;
  throw invalidArgument(`image ${JSON.stringify(name.slice(0, 100))}: not a name`);
}

function stepMessage({ name, attributes, ageMs }: StepInProgress) {
  return { name, attributes: asStrings(attributes), ageMs: BigInt(ageMs) };
}

function asStrings(fields: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)]));
}
