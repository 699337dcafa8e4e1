import { lstatSync, type Stats, statSync } from "node:fs";
import { posix } from "node:path";
import { describe } from "../../lib/errors.ts";
import { parseExact } from "../../lib/json.ts";
import { ifThere, isErrno } from "../../os/errno-error.ts";
import { writeAll } from "../../os/file/blocking-io.ts";
import { chrootTo, dieWithParent, umask } from "../../os/security/confine.ts";
import type { TransferOrder } from "./order.ts";
import { packTree } from "./pack.ts";
import type { Found } from "./plan.ts";
import { realPath } from "./real-path.ts";
import { unpackTree } from "./unpack.ts";

const rootFd = 3;

/**
 * The child of `crib cp` that reads or writes the files of one side: chrooted into that side, so that no link and no name
 * there leads out of it, whatever is changed while it works. Returns the exit code; what went wrong is on stderr.
 */
export async function runTransfer([text = ""]: readonly string[]): Promise<number> {
  try {
    const order = parseExact(text) as TransferOrder;
    dieWithParent();
    chrootTo(rootFd);
    umask(0);
    switch (order.op) {
      case "stat":
        writeAll(1, Buffer.from(JSON.stringify(find(order.path, order.follow))));
        break;
      case "pack":
        await packTree(order);
        break;
      case "unpack":
        await unpackTree(order);
        break;
    }
    return 0;
  } catch (err) {
    if (isErrno(err, "EPIPE")) return 0; // whoever reads says why
    writeAll(2, Buffer.from(`${describe(err)}\n`));
    return 1;
  }
}

function find(path: string, follow: boolean): Found {
  const absolute = posix.resolve("/", path);
  const look = () => (follow ? statSync(absolute) : lstatSync(absolute));
  const stats = orAbsent(look);
  if (stats === undefined) {
    const parent = orAbsent(() => realPath(posix.dirname(absolute)));
    const isDirectory = parent !== undefined && orAbsent(() => statSync(parent))?.isDirectory();
    const real = posix.join(parent ?? posix.dirname(absolute), posix.basename(absolute));
    return { kind: "absent", path: real, hasParent: isDirectory === true };
  }
  // A link that is copied itself keeps its own name; those before it are followed.
  const real = follow
    ? realPath(absolute)
    : posix.join(realPath(posix.dirname(absolute)), posix.basename(absolute));
  return { kind: kindOf(stats), path: real, hasParent: true };
}

function kindOf(stats: Stats): Found["kind"] {
  if (stats.isDirectory()) return "directory";
  return stats.isFile() ? "file" : "other";
}

function orAbsent<T>(look: () => T): T | undefined {
  return ifThere(look, ["ENOTDIR"]);
}
