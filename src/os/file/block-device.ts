import { readFileSync, statSync } from "node:fs";

/** The path below /dev that the kernel gives a disk by default (sysfs(5), `uevent`); its numbers where it has gone. */
export function blockDevicePath(major: number, minor: number): string {
  const numbers = `${major}:${minor}`;
  try {
    const uevent = readFileSync(`/sys/dev/block/${numbers}/uevent`, "latin1");
    const [, name] = /^DEVNAME=(.+)$/m.exec(uevent) ?? [];
    return name === undefined ? numbers : `/dev/${name}`;
  } catch {
    return numbers;
  }
}

/** What the file system of a path is on: a disk as above, or else the source of its mount (proc_pid_mountinfo(5)). */
export function filesystemDevice(path: string): string {
  const { dev } = statSync(path, { bigint: true });
  // glibc's gnu_dev_major and gnu_dev_minor.
  const major = Number(((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn));
  const minor = Number((dev & 0xffn) | ((dev >> 12n) & 0xffff_ff00n));
  const numbers = `${major}:${minor}`;
  const device = blockDevicePath(major, minor);
  if (device !== numbers) return device;
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const [mount = "", source = ""] = line.split(" - ");
    if (mount.split(" ")[2] === numbers) return source.split(" ")[1] ?? numbers;
  }
  return numbers;
}
