import { check, cstring, int32, link, uint32 } from "../libc.ts";

const libc = link({
  mount: { args: ["ptr", "ptr", "ptr", "u64", "ptr"], returns: "int" },
  umount2: { args: ["ptr", "int"], returns: "int" },
});

export const MS_RDONLY = 0x1;
export const MS_NOSUID = 0x2;
export const MS_NODEV = 0x4;
export const MS_NOEXEC = 0x8;
export const MS_BIND = 0x1000;
export const MS_REC = 0x4000;
export const MS_PRIVATE = 0x4_0000;
export const MS_SHARED = 0x10_0000;
export const MNT_DETACH = 0x2;
export const UMOUNT_NOFOLLOW = 0x8;

/** mount(2). The kernel reads at most one page of `data`: longer options are refused here. */
export function mount(
  source: string,
  target: string,
  type: string,
  flags: number,
  data = "",
): void {
  if (Buffer.byteLength(data) > 4095) throw new RangeError(`mount options over one page`);
  const [from, to, kind, options] = [source, target, type, data].map(cstring);
  if (!from || !to || !kind || !options) throw new TypeError("unreachable");
  check(`mount ${target}`, () =>
    libc.mount(from, to, type === "" ? null : kind, uint32(flags), data === "" ? null : options),
  );
}

/** umount2(2) */
export function umount(target: string, flags: number): void {
  const path = cstring(target);
  check(`umount2 ${target}`, () => libc.umount2(path, int32(flags)));
}
