import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import { invalidArgument } from "../../lib/errors.ts";
import type { CriClient } from "../client.ts";
import { plain } from "../output/output.ts";

/** As the daemon resolves names, and by the beginning of an id, which CRI leaves open. */
export async function findImage(
  cri: CriClient,
  key: string,
  signal: AbortSignal,
): Promise<pb.Image | undefined> {
  if (key === "") return undefined; // which the daemon takes for a mistake of its client's
  const { image } = await cri.images.imageStatus({ image: { image: key } }, { signal });
  if (image !== undefined) return image;
  const prefix = key.replace(/^sha256:/, "");
  if (!/^[0-9a-f]{4,64}$/.test(prefix)) return undefined;
  const { images } = await cri.images.listImages({}, { signal });
  const found = images.filter(({ id }) => id.replace(/^sha256:/, "").startsWith(prefix));
  if (found.length > 1) throw invalidArgument(`"${plain(key)}" fits ${found.length} images`);
  return found[0];
}
