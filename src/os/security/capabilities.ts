import { ptr } from "bun:ffi";
import { check, link } from "../libc.ts";

const libc = link({ capset: { args: ["ptr", "ptr"], returns: "int" } });

const _LINUX_CAPABILITY_VERSION_3 = 0x2008_0522;

export const CAP_CHOWN = 0;
export const CAP_DAC_OVERRIDE = 1;
export const CAP_FOWNER = 3;
export const CAP_FSETID = 4;
export const CAP_SYS_CHROOT = 18;
export const CAP_SYS_ADMIN = 21;
export const CAP_MKNOD = 27;
export const CAP_SETFCAP = 31;

/** capset(2): the calling thread keeps these of its capabilities and can never have another again. */
export function keepCapabilities(kept: readonly number[]): void {
  const set = kept.reduce((bits, capability) => bits | (1n << BigInt(capability)), 0n);
  const low = Number(set & 0xffff_ffffn);
  const high = Number(set >> 32n);
  const header = new Uint32Array([_LINUX_CAPABILITY_VERSION_3, 0]);
  // Effective, permitted, inheritable: first the lower halves, then the higher ones.
  const sets = new Uint32Array([low, low, 0, high, high, 0]);
  check("capset", () => libc.capset(ptr(header), ptr(sets)));
}
