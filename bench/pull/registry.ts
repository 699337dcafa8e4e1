import { existsSync } from "node:fs";
import { join } from "node:path";
import { pushImage } from "../../test/harness/images/oci-image.ts";
import {
  type RegistryOptions,
  type RegistryServer,
  startRegistry,
} from "../../test/harness/registry-server.ts";
import { repositoryDir } from "../../test/parts/paths.ts";
import { allShapes, type Shape } from "./shapes.ts";

const dataDir = join(repositoryDir, ".cache/bench/registry");

export function repositoryOf({ name }: Shape): string {
  return `bench/${name.replaceAll(/[^a-z0-9]+/g, "-")}`;
}

/** A registry on this machine that holds the images. They are made once, which takes minutes. */
export async function openImages(
  options: Pick<RegistryOptions, "address"> = {},
): Promise<RegistryServer> {
  await using filling = await startRegistry({ dataDir, writable: true });
  for (const shape of allShapes) {
    const repository = repositoryOf(shape);
    if (
      existsSync(join(dataDir, `docker/registry/v2/repositories/${repository}/_manifests/tags`))
    ) {
      continue;
    }
    console.log(`making the image of ${shape.name}`);
    await pushImage(filling.url, repository, "1", shape.make());
  }
  return await startRegistry({ dataDir, ...options });
}

/** Bytes of the layers of an image. */
export async function layerBytes(registry: RegistryServer, shape: Shape): Promise<number> {
  const accept = "application/vnd.oci.image.manifest.v1+json";
  const url = `${registry.url}/v2/${repositoryOf(shape)}/manifests/1`;
  const manifest = (await (await fetch(url, { headers: { accept } })).json()) as {
    readonly layers: readonly { readonly size: number }[];
  };
  return manifest.layers.reduce((sum, { size }) => sum + size, 0);
}
