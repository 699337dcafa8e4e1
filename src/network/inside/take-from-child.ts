import { abortable } from "../../lib/abortable.ts";
import { readLimited } from "../../lib/collect.ts";
import { type Context, withTimeout } from "../../lib/context.ts";
import { parseJson } from "../../lib/json.ts";
import type { OwnedFd } from "../../os/file/owned-fd.ts";
import { ownChild } from "../../os/process/own-child.ts";
import { pidfdGetfd, pidfdOpen } from "../../os/process/pidfd.ts";
import { childEnv } from "../../os/process/role.ts";

/** A child takes some 10 ms, and seconds on a node that is busy. */
const responseMs = 30_000;
/** A descriptor is a few digits; the reason why there is none is one line. */
const maxResponseBytes = 1 << 20;

/**
 * Asks a child, which goes into a network namespace and opens something there, and gives `take` its result and the way
 * to have the descriptors that this names. The child ends when `take` returns.
 */
export async function takeFromChild(
  ctx: Context,
  argv: readonly string[],
  request: unknown,
  take: (response: unknown, descriptor: (fd: number) => OwnedFd) => void,
): Promise<void> {
  const { signal } = withTimeout(ctx, responseMs);
  const child = ownChild(
    Bun.spawn([...argv], {
      cwd: "/",
      env: { ...childEnv },
      stdin: Buffer.from(JSON.stringify(request)),
      stdout: "pipe",
      stderr: "ignore",
    }),
  );
  try {
    using pidfd = pidfdOpen(child.pid);
    const text = await abortable(readLimited(child.stdout, maxResponseBytes), signal);
    const response = parseJson(text, "response", { maxBytes: maxResponseBytes });
    take(response, (fd) => pidfdGetfd(pidfd.fd, fd));
  } finally {
    child.kill("SIGKILL");
  }
}
