import { AppError, notFound } from "../../lib/errors.ts";
import { parseJson } from "../../lib/json.ts";
import { maxImageConfigBytes } from "../../oci/image-config.ts";
import { maxManifestBytes } from "../../oci/manifest.ts";
import type { CriClient } from "../client.ts";
import type { CommandEnv } from "../command.ts";
import { plain } from "../output/output.ts";

/** Prints all that the store has of an image: names, layers with their sizes, config and manifests as they came. */
export async function inspectImage(env: CommandEnv, cri: CriClient, name: string): Promise<void> {
  const options = { signal: env.ctx.signal };
  const { images } = await cri.admin.listImageLayers({ image: name }, options);
  const [image] = images;
  if (image === undefined) throw notFound(`no image "${plain(name)}"`);
  const shown = {
    id: image.id,
    repoTags: image.repoTags,
    repoDigests: image.repoDigests,
    pinned: image.pinned,
    layers: image.layers.map((layer) => ({
      diffId: layer.diffId,
      chainId: layer.chainId,
      usedBytes: Number(layer.usedBytes),
      inodes: Number(layer.inodes),
      tarBytes: Number(layer.tarBytes),
      images: layer.images,
    })),
    config: configOf(image.config),
    manifests: image.manifests.map((bytes) =>
      parseJson(bytes, "manifest", { maxBytes: maxManifestBytes }),
    ),
  };
  env.out.write(`${JSON.stringify(shown, null, 2)}\n`);
}

/** That of an artifact may be anything. */
function configOf(bytes: Uint8Array): unknown {
  try {
    return parseJson(bytes, "image config", { maxBytes: maxImageConfigBytes });
  } catch (err) {
    if (err instanceof AppError) return { bytes: bytes.byteLength };
    throw err;
  }
}
