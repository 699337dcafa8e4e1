import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";

/** A file system of its own, so small that it is full at once. */
export function smallDisk(path: string, megabytes: number): Disposable {
  const image = `${path}.img`;
  run("truncate", "-s", `${megabytes}M`, image);
  run("mkfs.ext4", "-q", image);
  mkdirSync(path);
  run("mount", "-o", "loop", image, path);
  return {
    [Symbol.dispose]: () => {
      run("umount", "-l", path); // who has just been killed may still be on it
      rmSync(image);
    },
  };
}

function run(...argv: readonly string[]): void {
  const { exitCode, stderr } = Bun.spawnSync([...argv]);
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
}

/** Writes until there is no room for one more byte. */
export function fill(path: string): void {
  const fd = openSync(path, "w");
  try {
    for (let size = 1 << 20; size >= 1; size >>= 1) {
      try {
        for (;;) if (writeSync(fd, Buffer.alloc(size)) < size) break;
      } catch {
        // The next, smaller one may fit.
      }
    }
  } finally {
    closeSync(fd);
  }
}
