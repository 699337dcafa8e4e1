import { fchmodSync, writeSync } from "node:fs";
import { isErrno } from "../errno-error.ts";
import { check, cstring, int32, link, uint32 } from "../libc.ts";
import { OwnedFd } from "./owned-fd.ts";

const libc = link({
  memfd_create: { args: ["ptr", "u32"], returns: "int" },
  fcntl: { args: ["int", "int", "int"], returns: "int" },
});

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const MFD_EXEC = 0x10;
const F_ADD_SEALS = 1033;
/** F_SEAL_SEAL, SHRINK, GROW and WRITE. */
const allSeals = 0xf;

/** memfd_create(2): a file in memory, which may be executed. */
export function memoryFile(name: string): OwnedFd {
  const text = cstring(name);
  const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  const open = (more: number) =>
    new OwnedFd(check("memfd_create", () => libc.memfd_create(text, uint32(flags | more))));
  try {
    return open(MFD_EXEC);
  } catch (err) {
    if (isErrno(err, "EINVAL")) return open(0); // before Linux 6.3, where every such file is executable
    throw err;
  }
}

/** A file in memory that nobody can change any more, whoever gets hold of it, and only root has a use for; at its beginning. */
export function sealedFile(name: string, contents: Uint8Array): OwnedFd {
  using rollback = new DisposableStack();
  const file = rollback.use(memoryFile(name));
  for (let written = 0; written < contents.byteLength; ) {
    const length = contents.byteLength - written;
    written += writeSync(file.fd, contents, written, length, written);
  }
  fchmodSync(file.fd, 0o500);
  check("fcntl F_ADD_SEALS", () => libc.fcntl(int32(file.fd), F_ADD_SEALS, allSeals));
  rollback.move();
  return file;
}
