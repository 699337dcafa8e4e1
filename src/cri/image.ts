import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import type { Image } from "../image/image.ts";
import { contextOf } from "./call/interceptor.ts";
import type { CriDeps } from "./deps.ts";
import { EncodedItems, fillList, inBatches } from "./message/encoded.ts";
import { imageInfo, toFilesystemUsage, toImageMessage } from "./message/image-message.ts";
import { checkMessage } from "./request/check-message.ts";
import { toCredentials } from "./request/credentials.ts";
import { checkHandler, referenceOf } from "./request/image-spec.ts";

type Methods = Pick<
  ServiceImpl<typeof pb.ImageService>,
  "listImages" | "streamImages" | "imageStatus" | "pullImage" | "removeImage" | "imageFsInfo"
>;

export function imageMethods({ images, node }: Pick<CriDeps, "images" | "node">): Methods {
  const toMessage = (image: Image) =>
    toImageMessage(image, { user: images.userOf(image), pinned: images.isPinned(image) });
  const items = new EncodedItems(pb.ImageSchema, toMessage);
  const listed = (filter: pb.ImageFilter | undefined) => {
    const ref = filter?.image?.image ?? "";
    return items.of(ref === "" ? images.list() : [images.find(ref)].filter((image) => !!image));
  };

  return {
    listImages({ filter }) {
      const schema = pb.ListImagesResponseSchema;
      return fillList(create(schema), schema.field.images.number, listed(filter));
    },

    async *streamImages({ filter }) {
      const schema = pb.StreamImagesResponseSchema;
      yield* inBatches(schema, schema.field.images.number, listed(filter));
    },

    /** "If the image is not present, returns a response with Image set to nil" (CRI ImageStatus). */
    imageStatus({ image: spec, verbose }) {
      const image = images.find(referenceOf(spec));
      if (image === undefined) return {};
      return { image: toMessage(image), info: verbose ? imageInfo(image) : {} };
    },

    async pullImage(request, handler) {
      checkMessage(pb.PullImageRequestSchema, request);
      const ref = referenceOf(request.image);
      checkHandler(request.image, node);
      const image = await images.pull(contextOf(handler), ref, toCredentials(request.auth));
      return { imageRef: image.id };
    },

    /** "Must not return an error if the image has already been removed" (CRI RemoveImage). */
    async removeImage({ image }, handler) {
      await images.remove(contextOf(handler), referenceOf(image));
      return {};
    },

    async imageFsInfo(_request, handler) {
      const usage = await images.usage(contextOf(handler));
      const timestamp = node.now();
      return {
        imageFilesystems: [toFilesystemUsage(usage.images, timestamp)],
        containerFilesystems: [toFilesystemUsage(usage.containers, timestamp)],
      };
    },
  };
}
