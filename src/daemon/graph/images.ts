import {
  type ImagesOptions,
  type OpenImages,
  openImages,
  type ReloadedSettings,
} from "../../image/open.ts";
import type { LoadVerifier } from "../../image/signatures/admit.ts";
import type { Context } from "../../lib/context.ts";
import { bootId } from "../../os/clock.ts";
import type { RegistryOptions } from "../../registry/client.ts";
import { findPolicyFile } from "../../signature/policy.ts";
import type { Config } from "../config/config.ts";
import { policyFilesOf } from "../policy-files.ts";
import { openNearby } from "./nearby.ts";

/** The images of this node, by its configuration. `resources` takes what has to be closed. */
export async function openNodeImages(
  ctx: Context,
  config: Config,
  resources: AsyncDisposableStack,
  {
    records,
    loadVerifier,
    loadRegistries,
  }: Pick<ImagesOptions, "records"> &
    Pick<RegistryOptions, "loadRegistries"> & { readonly loadVerifier: LoadVerifier },
): Promise<OpenImages> {
  const { images } = config;
  const { registry, transfer, ...reloaded } = imageSettingsOf(config, loadVerifier);
  ctx.log.info("signature policy in force", {
    file: findPolicyFile(policyFilesOf(config)) ?? "none",
  });
  return await openImages(ctx, {
    root: config.root,
    nearby: await openNearby(ctx, config, resources),
    records,
    bootId: bootId(),
    registry: { ...registry, loadRegistries },
    keepsBlobs: images.keepBlobs,
    transfer: {
      ...transfer,
      parallelLayers: images.maxParallelDownloads,
      parallelUnpacks: images.maxParallelUnpacks,
    },
    ...reloaded,
  });
}

/** The settings that an open store may be given anew. */
export function imageSettingsOf(
  config: Pick<Config, "images" | "mirror" | "proxy">,
  loadVerifier: LoadVerifier,
): ReloadedSettings {
  const { images, mirror, proxy } = config;
  return {
    peers: {
      urls: mirror.peers,
      ca: mirror.peersCaFile,
      resolveTags: mirror.peersResolveTags === "yes",
    },
    signatures: { policyFiles: policyFilesOf(config), loadVerifier },
    registry: {
      configDirs: images.registryConfigDirs,
      registriesFiles: images.registriesFiles,
      dockerConfigFiles: images.dockerConfigFiles,
      proxy,
    },
    limits: {
      entries: images.maxLayerEntries,
      uncompressedBytes: images.maxLayerBytes,
      keepFreePercent: images.keepFreePercent,
    },
    transfer: {
      bytesPerSecond: images.maxBytesPerSecond,
      stallMs: images.stallSeconds * 1000,
    },
  };
}
