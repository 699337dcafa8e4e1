import { readBeginning } from "../../lib/collect.ts";
import type { Context } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";
import { type Digest, Digester } from "../../oci/digest.ts";
import { ownChild } from "../../os/process/own-child.ts";
import type { UnpackArgv } from "./unpack-child.ts";
import { unpackEnv } from "./unpack-env.ts";
import { readFailure } from "./unpack-process.ts";

const maxStderrBytes = 16 << 10;

/**
 * The archive of the layer in `directory`, made again in a child (rebuild-layer.ts). An error instead of the end unless
 * it is the one that `diffId` names. The child ends with the reading, also when that is given up.
 */
export async function* rebuildInChild(
  ctx: Context,
  argv: UnpackArgv,
  directory: string,
  diffId: Digest,
): AsyncGenerator<Uint8Array> {
  ctx.signal.throwIfAborted();
  const child = ownChild(
    Bun.spawn([...argv("rebuild", directory)], {
      cwd: "/",
      env: { ...unpackEnv },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    }),
  );
  const kill = () => child.kill("SIGKILL");
  ctx.signal.addEventListener("abort", kill, { once: true });
  const stderr = readBeginning(child.stderr, maxStderrBytes);
  const hash = new Digester();
  try {
    for await (const chunk of child.stdout) {
      hash.update(chunk);
      yield chunk;
    }
    await child.exited;
    ctx.signal.throwIfAborted();
    if (child.exitCode !== 0) throw failure(await stderr);
  } finally {
    kill();
    ctx.signal.removeEventListener("abort", kill);
    await child.exited;
  }
  const found = hash.digest();
  if (found === diffId) return;
  throw new AppError(`layer ${diffId} cannot be made again: the bytes are ${found}`, {
    kind: "data-loss",
  });
}

function failure(stderr: Buffer): AppError {
  const cause = readFailure(stderr) ?? new AppError(stderr.toString(), { kind: "internal" });
  return new AppError("make the layer's archive again", { kind: cause.kind, cause });
}
