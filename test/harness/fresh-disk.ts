import { mkdirSync, mkdtempSync, rmSync } from "node:fs";

function run(...argv: readonly string[]): void {
  const { exitCode, stderr } = Bun.spawnSync([...argv], { stdout: "ignore", stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: ${stderr.toString().trim()}`);
}

export interface Disk extends Disposable {
  readonly path: string;
  /** All that was written is on it. */
  sync(): void;
}

/** A new ext4 with a journal on a loop device: nobody's fragments, nobody's dirty pages. */
export function freshDisk(megabytes: number): Disk {
  using rollback = new DisposableStack();
  const dir = mkdtempSync("/var/tmp/crib-disk-");
  rollback.defer(() => rmSync(dir, { recursive: true, force: true }));
  const path = `${dir}/mnt`;
  mkdirSync(path);
  run("truncate", "-s", `${megabytes}M`, `${dir}/image`);
  run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", `${dir}/image`);
  run("mount", "-o", "loop", `${dir}/image`, path);
  rollback.defer(() => run("umount", "-l", path));
  const resources = rollback.move();
  return {
    path,
    sync: () => run("sync", "-f", path),
    [Symbol.dispose]: () => resources.dispose(),
  };
}
