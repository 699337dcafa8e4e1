import { join } from "node:path";
import { findStatus } from "../os/file/inode.ts";
import type { LayerReport } from "./layer/layer-report.ts";
import type { Usage } from "./snapshotter.ts";

/** `layer.json`, which says all this. */
const metadataBytes = 4096;

/** What a layer takes beside the files of its archive: its directory and those of ours in it, copies of what was linked to. */
export function measureOwn(directory: string, links: LayerReport["links"]): Usage {
  const ours = ["", "recipe", "replaced"].map((name) => Buffer.from(join(directory, name)));
  const copies = links.map(([name]) => Buffer.from(`${directory}/fs/${name}`, "latin1"));
  const found = [...ours, ...copies].map(findStatus).filter((status) => status !== undefined);
  const files = [...new Map(found.map((status) => [status.inode, status])).values()];
  const usedBytes = files.reduce((sum, file) => sum + file.usedBytes, metadataBytes);
  return { usedBytes, inodes: files.length + 1 };
}
