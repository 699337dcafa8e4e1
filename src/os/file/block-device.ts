import { readFileSync } from "node:fs";

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
