import { create } from "@bufbuild/protobuf";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { implementCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { writeImageTree } from "../image/image-tree.ts";
import { formatSize, shortId } from "../output/format.ts";
import { writeList } from "../output/list-output.ts";

export const images = implementCommand("images", async (env, options, [image = ""]) => {
  using cri = env.connect();
  if (options.tree) {
    await writeImageTree(env, cri, image);
    return exitCodes.ok;
  }
  const filter = { image: { image } };
  const response = await cri.images.listImages({ filter }, { signal: env.ctx.signal });
  const sorted = response.images.toSorted((a, b) => nameOf(a).localeCompare(nameOf(b)));
  const id = options["no-trunc"] ? (text: string) => text : shortId;
  writeList(env.out, options, {
    schema: pb.ListImagesResponseSchema,
    message: create(pb.ListImagesResponseSchema, { images: sorted }),
    ids: sorted.map((item) => item.id),
    header: ["IMAGE", "ID", "SIZE", "PINNED", ...(options.digests ? ["DIGEST"] : [])],
    rows: sorted.flatMap((item) => {
      const names = item.repoTags.length > 0 ? item.repoTags : item.repoDigests.slice(0, 1);
      const digests = item.repoDigests.map((name) => name.replace(/^.*@/, ""));
      const rest = [
        id(item.id),
        formatSize(item.size),
        item.pinned ? "yes" : "no",
        ...(options.digests ? [[...new Set(digests)].join(",")] : []),
      ];
      return (names.length > 0 ? names : ["<none>"]).map((name) => [name, ...rest]);
    }),
  });
  return exitCodes.ok;
});

function nameOf(image: pb.Image): string {
  return image.repoTags[0] ?? image.repoDigests[0] ?? image.id;
}
