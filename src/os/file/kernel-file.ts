import { readSync } from "node:fs";

/** The kernel gives records of such a file until the next one would go beyond a page: less than half of one is all there is. */
const halfPage = 2048;
const buffer = Buffer.alloc(256 << 10);

/**
 * pread(2) of a file that the kernel makes up while it is read (proc(5), cgroups(7)), from the beginning, as often as
 * wanted through one descriptor. At most 256 KiB of it: ten thousand processes, two thousand interfaces.
 */
export function readKernelFile(fd: number): string {
  let length = 0;
  while (length < buffer.byteLength) {
    const count = readSync(fd, buffer, length, buffer.byteLength - length, length);
    length += count;
    if (count < halfPage) break;
  }
  return buffer.toString("latin1", 0, length);
}
