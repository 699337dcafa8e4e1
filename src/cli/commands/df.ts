import { type DiskUsage, GetDiskUsageResponseSchema } from "../../gen/crib/admin/v1/admin_pb.ts";
import { implementCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { formatSize } from "../output/format.ts";
import { wantsJson, writeJson } from "../output/list-output.ts";
import { plain } from "../output/output.ts";
import { writeTable } from "../output/table.ts";

export const df = implementCommand("df", async (env, { output }) => {
  using cri = env.connect();
  const usage = await cri.admin.getDiskUsage({}, { signal: env.ctx.signal });
  if (wantsJson(output)) {
    writeJson(env.out, GetDiskUsageResponseSchema, usage);
    return exitCodes.ok;
  }
  const row = (what: string, count: number, part: DiskUsage | undefined, reclaimable: string) => [
    what,
    String(count),
    formatSize(part?.usedBytes ?? 0n),
    String(part?.inodes ?? 0n),
    reclaimable,
  ];
  writeTable(
    env.out,
    ["", "COUNT", "SIZE", "FILES", "RECLAIMABLE"],
    [
      row("images", usage.imageCount, usage.images, formatSize(usage.reclaimableBytes)),
      row("containers", usage.containerCount, usage.containers, "-"),
      row("logs", usage.containerCount, usage.logs, "-"),
    ],
  );
  const free = `${formatSize(usage.filesystemFreeBytes)} of ${formatSize(usage.filesystemBytes)}`;
  env.out.write(`${free} free in ${plain(usage.mountpoint)}\n`);
  return exitCodes.ok;
});
