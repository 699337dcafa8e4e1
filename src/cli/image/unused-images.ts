import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import type { CriClient } from "../client.ts";

/** Images that are neither pinned nor of any container, running or not. */
export async function unusedImages(
  cri: CriClient,
  signal: AbortSignal,
): Promise<readonly pb.Image[]> {
  const [{ images }, { containers }] = await Promise.all([
    cri.images.listImages({}, { signal }),
    cri.runtime.listContainers({}, { signal }),
  ]);
  // Runtimes give a container's image by its id, its name or a digest; volumes are images too.
  const used = new Set(
    containers.flatMap(({ image, imageId, imageRef }) => [image?.image, imageId, imageRef]),
  );
  return images
    .filter(({ pinned }) => !pinned)
    .filter(({ id, repoTags, repoDigests }) => {
      return ![id, ...repoTags, ...repoDigests].some((name) => used.has(name));
    });
}
