import { check, cstring, link } from "../libc.ts";

const libc = link({ renameat2: { args: ["int", "ptr", "int", "ptr", "u32"], returns: "int" } });

const AT_FDCWD = -100;
const RENAME_EXCHANGE = 2;

/** renameat2(2) RENAME_EXCHANGE: the two change places at once. */
export function exchange(one: string, other: string): void {
  const [a, b] = [cstring(one), cstring(other)];
  check(`exchange ${one}`, () => libc.renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE));
}
