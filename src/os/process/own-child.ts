const pids = new Set<number>();

/** Marks what `Bun.spawn` started as Bun's to reap: whoever reaps orphans must leave it alone, however late Bun is. */
export function ownChild<Child extends Pick<Bun.Subprocess, "pid" | "exited">>(
  child: Child,
): Child {
  const { pid } = child;
  pids.add(pid);
  const forget = () => void pids.delete(pid);
  child.exited.then(forget, forget);
  return child;
}

export function isOwnChild(pid: number): boolean {
  return pids.has(pid);
}
