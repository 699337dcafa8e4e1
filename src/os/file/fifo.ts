import { check, cstring, link, uint32 } from "../libc.ts";

const libc = link({ mkfifo: { args: ["ptr", "u32"], returns: "int" } });

/** mkfifo(3) */
export function makeFifo(path: string, mode: number): void {
  const name = cstring(path);
  check(`mkfifo ${path}`, () => libc.mkfifo(name, uint32(mode)));
}
