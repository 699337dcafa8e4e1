import { ptr } from "bun:ffi";
import { check, int32, link } from "./libc.ts";

const libc = link({
  ioctl: { args: ["int", "u64", "ptr"], returns: "int" },
  tcgetattr: { args: ["int", "ptr"], returns: "int" },
  tcsetattr: { args: ["int", "int", "ptr"], returns: "int" },
  cfmakeraw: { args: ["ptr"], returns: "void" },
});

const TIOCGWINSZ = 0x5413n;
const TIOCSWINSZ = 0x5414n;
const TCSADRAIN = 1;
/** struct termios of glibc has 60. */
const termiosBytes = 64;

export interface WindowSize {
  readonly columns: number;
  readonly rows: number;
}

/** ioctl_tty(2) TIOCGWINSZ: the size of a terminal in characters; zero is unknown. */
export function getWindowSize(fd: number): WindowSize {
  const size = new Uint16Array(4);
  check("ioctl TIOCGWINSZ", () => libc.ioctl(int32(fd), TIOCGWINSZ, ptr(size)));
  return { rows: size[0] ?? 0, columns: size[1] ?? 0 };
}

/** ioctl_tty(2) TIOCSWINSZ: the size of a terminal in characters. */
export function setWindowSize(fd: number, columns: number, rows: number): void {
  const size = new Uint16Array([uint16(rows), uint16(columns), 0, 0]);
  check("ioctl TIOCSWINSZ", () => libc.ioctl(int32(fd), TIOCSWINSZ, ptr(size)));
}

/** How a terminal treats what is typed and written: the bytes of a struct termios. */
export type TerminalMode = Uint8Array;

/** tcgetattr(3) */
export function getTerminalMode(fd: number): TerminalMode {
  const mode = new Uint8Array(termiosBytes);
  check("tcgetattr", () => libc.tcgetattr(int32(fd), ptr(mode)));
  return mode;
}

/** tcsetattr(3), when all that was written is out. */
export function setTerminalMode(fd: number, mode: TerminalMode): void {
  if (mode.byteLength !== termiosBytes) throw new RangeError("not a struct termios");
  check("tcsetattr", () => libc.tcsetattr(int32(fd), TCSADRAIN, ptr(mode)));
}

/** cfmakeraw(3): every byte goes through as it is, in both directions. */
export function rawMode(mode: TerminalMode): TerminalMode {
  if (mode.byteLength !== termiosBytes) throw new RangeError("not a struct termios");
  const raw = mode.slice();
  libc.cfmakeraw(ptr(raw));
  return raw;
}

function uint16(value: number): number {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff) {
    throw new RangeError(`not a uint16: ${value}`);
  }
  return value;
}
