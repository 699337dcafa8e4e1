import type { MessageInitShape } from "@bufbuild/protobuf";
import type * as pb from "../gen/crib/admin/v1/admin_pb.ts";
import type { Context } from "../lib/context.ts";
import { invalidArgument } from "../lib/errors.ts";
import type { AdminDeps } from "./deps.ts";

const maxPathLength = 4095;

/** The first message decides: a path on this node, or the first piece of an archive. */
export async function importImages(
  ctx: Context,
  deps: Pick<AdminDeps, "importPath" | "importStream">,
  requests: AsyncIterable<pb.ImportImagesRequest>,
): Promise<MessageInitShape<typeof pb.ImportImagesResponseSchema>> {
  const messages = requests[Symbol.asyncIterator]();
  const first = await messages.next();
  if (first.done === true) throw invalidArgument("no archive");
  const { source } = first.value;
  const images =
    source.case === "path"
      ? await deps.importPath(ctx, checkPath(source.value))
      : await deps.importStream(ctx, chunksOf(first.value, messages));
  return {
    images: images.map(({ id, repoTags, repoDigests }) => {
      return { id, names: repoTags.length > 0 ? [...repoTags] : [...repoDigests] };
    }),
  };
}

async function* chunksOf(
  first: pb.ImportImagesRequest,
  rest: AsyncIterator<pb.ImportImagesRequest>,
): AsyncGenerator<Uint8Array> {
  yield chunkOf(first);
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) {
    yield chunkOf(next.value);
  }
}

function chunkOf({ source }: pb.ImportImagesRequest): Uint8Array {
  if (source.case === "chunk") return source.value;
  throw invalidArgument("neither a path nor a piece of an archive");
}

function checkPath(path: string): string {
  if (path.startsWith("/") && path.length <= maxPathLength && !path.includes("\0")) return path;
  throw invalidArgument("path: not an absolute path");
}
