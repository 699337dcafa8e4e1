import type { CgroupFiles } from "./files.ts";

/** What went to and from one disk, past the page cache. */
export interface DiskCounters {
  readonly major: number;
  readonly minor: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly reads: number;
  readonly writes: number;
}

export function readDisks(files: CgroupFiles): readonly DiskCounters[] {
  return files.isUnified("blkio") === false
    ? readDisksV1(files)
    : parseDisksV2(files.read("io", "io.stat") ?? "");
}

/** Lines of `8:0 rbytes=0 wbytes=0 rios=0 wios=0 dbytes=0 dios=0`. */
function parseDisksV2(text: string): readonly DiskCounters[] {
  return text.split("\n").flatMap((line) => {
    const [, major, minor, rest = ""] = /^(\d+):(\d+) (.*)$/.exec(line) ?? [];
    if (major === undefined) return [];
    const values = new Map(rest.split(" ").map((pair) => pair.split("=") as [string, string]));
    const at = (key: string) => Number(values.get(key) ?? 0);
    return [
      {
        major: Number(major),
        minor: Number(minor),
        readBytes: at("rbytes"),
        writtenBytes: at("wbytes"),
        reads: at("rios"),
        writes: at("wios"),
      },
    ];
  });
}

/** Two files with lines of `8:0 Read 0`, `8:0 Write 0`, ... and `Total 0`. */
function readDisksV1(files: CgroupFiles): readonly DiskCounters[] {
  const bytes = parseOperations(files.read("blkio", "blkio.throttle.io_service_bytes_recursive"));
  const counts = parseOperations(files.read("blkio", "blkio.throttle.io_serviced_recursive"));
  return [...bytes].map(([device, operations]) => {
    const [major, minor] = device.split(":").map(Number);
    return {
      major: major ?? 0,
      minor: minor ?? 0,
      readBytes: operations.get("Read") ?? 0,
      writtenBytes: operations.get("Write") ?? 0,
      reads: counts.get(device)?.get("Read") ?? 0,
      writes: counts.get(device)?.get("Write") ?? 0,
    };
  });
}

function parseOperations(
  text: string | undefined,
): ReadonlyMap<string, ReadonlyMap<string, number>> {
  const devices = new Map<string, Map<string, number>>();
  for (const line of (text ?? "").split("\n")) {
    const [, device = "", operation = "", value] = /^(\d+:\d+) (\w+) (\d+)$/.exec(line) ?? [];
    if (value === undefined) continue;
    const operations = devices.get(device) ?? new Map<string, number>();
    devices.set(device, operations.set(operation, Number(value)));
  }
  return devices;
}
