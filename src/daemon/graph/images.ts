import { type ImagesOptions, type OpenImages, openImages } from "../../image/open.ts";
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
  const { images, mirror } = config;
  const policyFiles = policyFilesOf(config);
  ctx.log.info("signature policy", { file: findPolicyFile(policyFiles) ?? "none" });
  return await openImages(ctx, {
    root: config.root,
    nearby: await openNearby(ctx, config, resources),
    peers: {
      urls: mirror.peers,
      ca: mirror.peersCaFile,
      resolveTags: mirror.peersResolveTags === "yes",
    },
    signatures: { policyFiles, loadVerifier },
    records,
    bootId: bootId(),
    registry: {
      configDirs: images.registryConfigDirs,
      registriesFiles: images.registriesFiles,
      loadRegistries,
      dockerConfigFiles: images.dockerConfigFiles,
      proxy: config.proxy,
    },
    keepsBlobs: images.keepBlobs,
    limits: {
      entries: images.maxLayerEntries,
      expandedBytes: images.maxLayerBytes,
      keepFreePercent: images.keepFreePercent,
    },
    transfer: {
      parallelLayers: images.maxParallelDownloads,
      parallelUnpacks: images.maxParallelUnpacks,
      bytesPerSecond: images.maxBytesPerSecond,
      stallMs: images.stallSeconds * 1000,
    },
  });
}
