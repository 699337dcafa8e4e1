import { expect, test } from "bun:test";
import { programFailureOf } from "./program-failure.ts";

test.each([
  // crib's own, and runc's
  ['start container: exec: "frob": executable file not found in $PATH', "not-found"],
  ['exec: "/no/such": no such file or directory', "not-found"],
  [
    'runc exec: exec failed: unable to start container process: exec: "/no/such": stat /no/such: no such file or directory',
    "not-found",
  ],
  ['exec "/bin/script": no such file or directory', "not-found"],
  ["exec /bin/script: no such file or directory", "not-found"],
  ['exec: "/etc": is a directory', "not-executable"],
  ['exec: "/etc": permission denied', "not-executable"],
  ["exec /data: exec format error", "not-executable"],
  // crun
  [
    "crun create: executable file `frob` not found in $PATH: No such file or directory",
    "not-found",
  ],
  ["executable file `/no/such` not found: No such file or directory", "not-found"],
  ["open executable: Permission denied", "not-executable"],
  ["crun create: open executable: Operation not permitted", "not-executable"],
  ["exec container process `/etc/passwd`: Exec format error", "not-executable"],
  // gVisor
  ['error finding executable "frob" in PATH [/bin]: no such file or directory', "not-found"],
  ["failed to load /no/such: no such file or directory", "not-found"],
  // others
  ['chdir to cwd ("/no/such"): no such file or directory', undefined],
  ["mount /no/such to /x: no such file or directory", undefined],
  ['no image "busybox"', undefined],
  ['no container "exec"', undefined],
  ["connect to /run/crib.sock: permission denied; the socket belongs to root", undefined],
] as const)("programFailureOf() of %j is %p", (message, expected) => {
  expect(programFailureOf(message)).toBe(expected as ReturnType<typeof programFailureOf>);
});
