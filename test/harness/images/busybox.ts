import { parts } from "../../parts/paths.ts";
import { run } from "../../parts/run.ts";
import type { TarEntry } from "./tar.ts";

/** What Debian's build of busybox lacks. */
const pgrepScript = `#!/bin/busybox sh
# pgrep PATTERN: the pids of processes whose name matches.
found=1
for comm in /proc/[0-9]*/comm; do
  pid=\${comm#/proc/}
  pid=\${pid%/comm}
  [ "$pid" = $$ ] && continue
  read -r name 2>/dev/null <"$comm" || continue
  case $name in *"$1"*) echo "$pid"; found=0 ;; esac
done
exit $found
`;

const ipcsScript = `#!/bin/busybox sh
# ipcs -m: the shared memory segments of this IPC namespace.
exec cat /proc/sysvipc/shm
`;

const passwd = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
`;

const group = `root:x:0:
daemon:x:1:
www-data:x:33:
nogroup:x:65534:
`;

export const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** A program, for an entry's `data`. */
export async function programBytes(path: string): Promise<Uint8Array> {
  return await Bun.file(path).bytes();
}

/**
 * The root file system of all images that are not Debian. Commands are hard links, not symbolic ones: a test
 * that masks /bin/ls would mask busybox itself.
 */
export async function busyboxRoot(): Promise<readonly TarEntry[]> {
  const applets = (await run([parts.busybox, "--list"]))
    .split("\n")
    .filter((name) => name !== "" && !["busybox", "sh", "pgrep", "ipcs"].includes(name));
  const directories = ["bin", "dev", "etc", "home", "proc", "run", "sys", "usr", "usr/bin"];
  return [
    ...[...directories, "usr/sbin", "usr/local", "usr/local/bin", "var", "var/log"].map(
      (path): TarEntry => ({ type: "directory", path }),
    ),
    { type: "directory", path: "root", mode: 0o700 },
    { type: "directory", path: "tmp", mode: 0o1777 },
    { type: "symlink", path: "var/run", target: "../run", mode: 0o777 },
    { type: "file", path: "etc/passwd", data: passwd },
    { type: "file", path: "etc/group", data: group },
    { type: "file", path: "bin/busybox", mode: 0o755, data: await programBytes(parts.busybox) },
    ...applets.map(
      (name): TarEntry => ({
        type: "hard-link",
        path: `bin/${name}`,
        target: "bin/busybox",
        mode: 0o755,
      }),
    ),
    { type: "symlink", path: "usr/bin/env", target: "../../bin/env", mode: 0o777 },
    { type: "file", path: "bin/sh", mode: 0o755, data: await programBytes(parts.shellShim) },
    { type: "file", path: "bin/pgrep", mode: 0o755, data: pgrepScript },
    { type: "file", path: "bin/ipcs", mode: 0o755, data: ipcsScript },
  ];
}
