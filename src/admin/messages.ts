import type { MessageInitShape } from "@bufbuild/protobuf";
import type * as pb from "../gen/crib/admin/v1/admin_pb.ts";
import type { LayeredImage } from "../image/layered-image.ts";
import type { Verdict } from "../image/verify.ts";

export function toImageLayers({
  image,
  layers,
  config,
  manifests,
}: LayeredImage): MessageInitShape<typeof pb.ImageLayersSchema> {
  return {
    id: image.id,
    repoTags: [...image.repoTags],
    repoDigests: [...image.repoDigests],
    pinned: image.pinned,
    layers: layers.map(({ chainId, diffId, usedBytes, inodes, tarBytes, images }) => ({
      chainId,
      diffId,
      usedBytes: BigInt(usedBytes),
      inodes: BigInt(inodes),
      tarBytes: BigInt(tarBytes ?? 0),
      images,
    })),
    config: Uint8Array.from(config),
    manifests: manifests.map((bytes) => Uint8Array.from(bytes)),
  };
}

export function toVerifyImagesResponse({
  digest,
  images,
  problem = "",
  repair,
}: Verdict): MessageInitShape<typeof pb.VerifyImagesResponseSchema> {
  return {
    digest,
    images: [...images],
    problem,
    repaired: repair === "done",
    repairProblem: typeof repair === "object" ? repair.failed : "",
  };
}
