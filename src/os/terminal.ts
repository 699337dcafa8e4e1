import { ptr } from "bun:ffi";
import { check, int32, link } from "./libc.ts";

const libc = link({ ioctl: { args: ["int", "u64", "ptr"], returns: "int" } });

const TIOCSWINSZ = 0x5414n;

/** ioctl_tty(2) TIOCSWINSZ: the size of a terminal in characters. */
export function setWindowSize(fd: number, columns: number, rows: number): void {
  const size = new Uint16Array([uint16(rows), uint16(columns), 0, 0]);
  check("ioctl TIOCSWINSZ", () => libc.ioctl(int32(fd), TIOCSWINSZ, ptr(size)));
}

function uint16(value: number): number {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff) {
    throw new RangeError(`not a uint16: ${value}`);
  }
  return value;
}
