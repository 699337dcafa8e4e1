import { invalidArgument } from "../../lib/errors.ts";
import { isErrno } from "../../os/errno-error.ts";
import {
  changeMode,
  changeModeOf,
  changeOwner,
  changeOwnerOf,
  type Name,
  setAttribute,
  setAttributeOf,
  setTime,
  setTimeOf,
} from "../../os/file/inode.ts";
import type { TarEntry } from "../tar/tar-reader.ts";

const setIdBits = 0o6000;
const setGroupIdBit = 0o2000;
const defaultAcl = "system.posix_acl_default";

/**
 * Gives what was just made the owner, attributes, mode and time that its entry says, with as few system calls as that
 * takes: nearly every file of nearly every image is root's and has its mode since it was made, under umask 0.
 */
export class EntryMetadata {
  /** Until a directory has a group, a set-group-ID bit or an ACL to pass on, new files are root's with the mode they were made with. */
  #isPlain = true;

  /** An open file that was made with the entry's mode. */
  applyToFile(fd: number, entry: TarEntry): void {
    const isOwned = this.#isOwned(entry);
    if (!isOwned) changeOwnerOf(fd, entry);
    for (const [attribute, value] of attributesOf(entry)) {
      tolerant(attribute, () => setAttributeOf(fd, attribute, value));
    }
    if (this.#wantsMode(entry, isOwned)) changeModeOf(fd, entry.mode);
    setTimeOf(fd, entry.mtime);
  }

  /** Anything but a file or a directory, made with the entry's mode. */
  applyToNode(path: Name, entry: TarEntry): void {
    this.#apply(path, entry, entry.type === "symlink" ? "never" : "if changed");
    setTime(path, entry.mtime);
  }

  /** `isNew`: made with the entry's mode. Its time is set when all of its entries are there. */
  applyToDirectory(path: Name, entry: TarEntry, isNew: boolean): void {
    const passesOn = entry.gid !== 0 || (entry.mode & setGroupIdBit) !== 0 || hasDefaultAcl(entry);
    if (passesOn) this.#isPlain = false;
    this.#apply(path, entry, isNew ? "if changed" : "always");
  }

  #apply(path: Name, entry: TarEntry, setMode: "always" | "if changed" | "never"): void {
    const isOwned = this.#isOwned(entry) && setMode !== "always";
    if (!isOwned) changeOwner(path, entry);
    for (const [attribute, value] of attributesOf(entry)) {
      tolerant(attribute, () => setAttribute(path, attribute, value));
    }
    if (setMode !== "never" && this.#wantsMode(entry, isOwned)) changeMode(path, entry.mode);
  }

  #isOwned({ uid, gid }: TarEntry): boolean {
    return this.#isPlain && uid === 0 && gid === 0;
  }

  /** Changing the owner takes set-ID bits away, an ACL changes the mode, and mkdir(2) knows no set-ID bits. */
  #wantsMode({ mode, attributes }: TarEntry, isOwned: boolean): boolean {
    return !isOwned || (mode & setIdBits) !== 0 || attributes.length > 0;
  }
}

/** Those that an image may bring. */
function attributesOf({ attributes }: TarEntry): TarEntry["attributes"] {
  if (attributes.length === 0) return attributes;
  return attributes.filter(([attribute]) => {
    const name = Buffer.from(attribute).toString("latin1");
    if (/^(?:trusted|user)\.overlay\./.test(name)) {
      throw invalidArgument(`attribute ${name}, which is overlayfs's own`);
    }
    // The node's policy labels files, not the image.
    return name !== "security.selinux";
  });
}

/** Where a file can have no user attributes, it does without. */
function tolerant(attribute: Name, set: () => void): void {
  try {
    set();
  } catch (err) {
    const isUsers = Buffer.from(attribute).toString("latin1").startsWith("user.");
    if (!(isErrno(err, "EOPNOTSUPP") && isUsers)) throw err;
  }
}

function hasDefaultAcl({ attributes }: TarEntry): boolean {
  return attributes.some(([attribute]) => Buffer.from(attribute).toString("latin1") === defaultAcl);
}
