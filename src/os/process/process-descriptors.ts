import { readdirSync, readFileSync, readlinkSync, type Stats, statSync } from "node:fs";

export interface Descriptors {
  readonly count: number;
  readonly sockets: number;
}

/** proc_pid_fd(5): what a process has open. Looks at no more than `max`. None for a process that has ended. */
export function countDescriptors(pid: number, max: number): Descriptors {
  const directory = `/proc/${pid}/fd`;
  const open = unlessGone(() => readdirSync(directory)) ?? [];
  const sockets = open
    .slice(0, max)
    .filter((fd) =>
      unlessGone(() => readlinkSync(`${directory}/${fd}`))?.startsWith("socket:["),
    ).length;
  return { count: open.length, sockets };
}

/** Whether a process has this file open, by whichever name. Not a process that has ended. */
export function hasOpen(pid: number, { dev, ino }: Pick<Stats, "dev" | "ino">): boolean {
  const directory = `/proc/${pid}/fd`;
  return (unlessGone(() => readdirSync(directory)) ?? []).some((fd) => {
    const stats = unlessGone(() => statSync(`${directory}/${fd}`));
    return stats?.dev === dev && stats.ino === ino;
  });
}

/** proc_pid_limits(5): how many descriptors the process may have, as it is set now. */
export function softDescriptorLimit(pid: number): number | undefined {
  const limits = unlessGone(() => readFileSync(`/proc/${pid}/limits`, "latin1"));
  const [, soft] = /^Max open files\s+(\d+)/m.exec(limits ?? "") ?? [];
  return soft === undefined ? undefined : Number(soft);
}

/** Processes end while one looks at them. */
function unlessGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
