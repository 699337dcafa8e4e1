import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import type { Image } from "../image/image.ts";
import { invalidArgument } from "../lib/errors.ts";
import { contextOf } from "./call/interceptor.ts";
import type { CriDeps } from "./deps.ts";
import { EncodedItems, fillList, inBatches } from "./message/encoded.ts";
import { imageInfo, toFilesystemUsage, toImageMessage } from "./message/image-message.ts";
import { checkMessage } from "./request/check-message.ts";
import { fail } from "./request/check-metadata.ts";
import { toCredentials } from "./request/credentials.ts";

type Methods = Pick<
  ServiceImpl<typeof pb.ImageService>,
  "listImages" | "streamImages" | "imageStatus" | "pullImage" | "removeImage" | "imageFsInfo"
>;

// A reference has at most 255 characters of name, 128 of tag and 71 of digest (distribution-spec).
const maxReferenceLength = 512;

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
      const wanted = request.image?.runtimeHandler ?? "";
      if (wanted !== "" && !node.handlers.some(({ name }) => name === wanted)) {
        throw fail("image.runtime_handler", wanted, "no such handler");
      }
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

/** The name or id of a request; what it means is the domain's. */
function referenceOf(spec: pb.ImageSpec | undefined): string {
  const ref = spec?.image ?? "";
  if (ref === "") throw invalidArgument("image is missing");
  if (ref.length > maxReferenceLength || !/^[\x21-\x7e]+$/.test(ref)) {
    throw fail("image", ref, "not an image reference");
  }
  return ref;
}
