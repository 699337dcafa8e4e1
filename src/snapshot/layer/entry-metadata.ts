import { AppError } from "../../lib/errors.ts";
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
/** ext4 has room for so much, of all attributes of a file together. */
const largeBytes = 2048;
const maxLeftOut = 200;
const defaultAcl = "system.posix_acl_default";

/**
 * Gives what was just made the owner, attributes, mode and time that its entry says, with as few system calls as that
 * takes: nearly every file of nearly every image is root's and has its mode since it was made, under umask 0.
 */
export class EntryMetadata {
  /** Until a directory has a group, a set-group-ID bit or an ACL to pass on, new files are root's with the mode they were made with. */
  #isPlain = true;
  readonly #leftOut = new Set<string>();

  /** Names of attributes that were not set, latin1. */
  get leftOut(): readonly string[] {
    return [...this.#leftOut];
  }

  /** An open file that was made with the entry's mode. */
  applyToFile(fd: number, entry: TarEntry): void {
    const isOwned = this.#isOwned(entry);
    if (!isOwned) changeOwnerOf(fd, entry);
    for (const [attribute, value] of entry.attributes) {
      this.#setIfPossible(attribute, value, () => setAttributeOf(fd, attribute, value));
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
    for (const [attribute, value] of entry.attributes) {
      this.#setIfPossible(attribute, value, () => setAttribute(path, attribute, value));
    }
    if (setMode !== "never" && this.#wantsMode(entry, isOwned)) changeMode(path, entry.mode);
  }

  /**
   * Attributes of other tools, systems and file systems come with images. What this file system or kind of file cannot
   * have, and what means something to this node and not to the image, is left out. File capabilities never are: without
   * them a program does not do what it was built for.
   */
  #setIfPossible(attribute: Name, value: Name, set: () => void): void {
    const name = Buffer.from(attribute).toString("latin1");
    // The node's policy labels files, not the image.
    if (name === "security.selinux") return;
    if (isSettable(name, value)) {
      try {
        set();
        return;
      } catch (err) {
        if (name === "security.capability" || !isImpossible(err, value)) throw err;
      }
    }
    this.#leftOut.add(name);
    if (this.#leftOut.size <= maxLeftOut) return;
    throw new AppError(`over ${maxLeftOut} attributes that files cannot have here`, {
      kind: "resource-exhausted",
    });
  }

  #isOwned({ uid, gid }: TarEntry): boolean {
    return this.#isPlain && uid === 0 && gid === 0;
  }

  /** Changing the owner takes set-ID bits away, an ACL changes the mode, and mkdir(2) knows no set-ID bits. */
  #wantsMode({ mode, attributes }: TarEntry, isOwned: boolean): boolean {
    return !isOwned || (mode & setIdBits) !== 0 || attributes.length > 0;
  }
}

function hasDefaultAcl({ attributes }: TarEntry): boolean {
  return attributes.some(([attribute]) => Buffer.from(attribute).toString("latin1") === defaultAcl);
}

/** Not `trusted.overlay.*`, by which overlayfs marks what is hidden; `user.overlay.*` means nothing to a mount by root. */
function isSettable(name: string, value: Name): boolean {
  return (
    !name.startsWith("trusted.overlay.") && isAttributeName(name) && value.byteLength <= 1 << 16
  );
}

/** As the kernel has them (xattr(7)). */
export function isAttributeName(name: string): boolean {
  return name.length > 0 && name.length <= 255 && !name.includes("\0");
}

/** What is refused because of the file, the attribute or the file system, which may have no room for a large value. */
function isImpossible(err: unknown, value: Name): boolean {
  const codes = ["EOPNOTSUPP", "EPERM", "EINVAL", "ERANGE", "E2BIG", "ENODATA"] as const;
  const isTooLarge = value.byteLength > largeBytes && isErrno(err, "ENOSPC");
  return isTooLarge || codes.some((code) => isErrno(err, code));
}
