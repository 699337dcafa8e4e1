import { constants, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { isErrno } from "../../os/errno-error.ts";
import { OwnedFd } from "../../os/file/owned-fd.ts";

const O_PATH = 0x20_0000;
const flags = O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/**
 * Opens a directory of logs, made if missing: the kubelet makes it, a client like crictl may not have. From the pod's
 * log directory on no link is followed: a container that has it mounted could make one lead anywhere on the node.
 */
export function openLogDirectory(directory: string, podDirectory: string | undefined): OwnedFd {
  const isBelow = podDirectory !== undefined && `${directory}/`.startsWith(`${podDirectory}/`);
  const trusted = isBelow ? dirname(podDirectory) : directory;
  mkdirSync(trusted, { recursive: true, mode: 0o755 });
  let current = new OwnedFd(openSync(trusted, O_PATH | constants.O_DIRECTORY));
  const rest = directory.slice(trusted.length).split("/");
  for (const name of rest.filter((part) => part !== "")) {
    using parent = current;
    current = openOrMake(`/proc/self/fd/${parent.fd}/${name}`);
  }
  return current;
}

function openOrMake(path: string): OwnedFd {
  try {
    return new OwnedFd(openSync(path, flags));
  } catch (err) {
    if (!isErrno(err, "ENOENT")) throw err;
  }
  mkdirSync(path, { mode: 0o755 });
  return new OwnedFd(openSync(path, flags));
}
