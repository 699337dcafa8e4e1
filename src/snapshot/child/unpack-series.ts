import { AppError, describe, kindOf } from "../../lib/errors.ts";
import { readFully, writeAll } from "../../os/file/blocking-io.ts";
import { openFile } from "../../os/file/inode.ts";
import { chroot, chrootTo } from "../../os/security/confine.ts";
import { applyLayer } from "../layer/apply-layer.ts";
import { type NativeDecompressors, openDecompressors } from "../layer/decompress.ts";
import type { LayerLimits } from "../layer/layer-report.ts";
import { openNewRecipe } from "../recipe/recipe-files.ts";
import { confineToSeveral } from "./confinement.ts";
import { decodeOrder, orderBytes, type SeriesOrder } from "./series-frame.ts";

/**
 * Unpacks the layers that come on stdin one after the other, each chrooted into its own `directory`/NAME/fs, and reports
 * of each in a line of JSON. Between two of them the process is in `directory`, above which it cannot get: what it could
 * reach at worst is the layers of the same series.
 */
export async function unpackSeries(
  directory: string,
  libraries: string,
  limits: LayerLimits,
): Promise<void> {
  const native = openDecompressors(libraries);
  confineToSeveral(directory, limits);
  using top = openFile(Buffer.from("/"), { directory: true });
  const head = Buffer.alloc(orderBytes);
  while (readFully(0, head) === orderBytes) {
    const order = decodeOrder(head);
    const bytes = Buffer.alloc(order.sizeBytes);
    if (readFully(0, bytes) < order.sizeBytes) return;
    const response = await unpackOne(order, bytes, native, limits).catch((err: unknown) => ({
      kind: kindOf(err),
      error: describe(err),
    }));
    chrootTo(top.fd);
    writeAll(1, Buffer.from(`${JSON.stringify(response)}\n`));
  }
}

async function unpackOne(
  { name }: SeriesOrder,
  bytes: Uint8Array,
  native: NativeDecompressors,
  limits: LayerLimits,
) {
  if (name.includes("/")) throw new AppError("a name with a slash", { kind: "internal" });
  using recipe = openNewRecipe(`/${name}`);
  chroot(`/${name}/fs`);
  return await applyLayer(once(bytes), native, limits, recipe);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
