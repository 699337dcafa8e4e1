import type { MessageInitShape } from "@bufbuild/protobuf";
import type * as pb from "../gen/crib/admin/v1/admin_pb.ts";
import type { PullProgress } from "../image/pull.ts";
import type { Context } from "../lib/context.ts";
import type { AdminDeps } from "./deps.ts";

type Message = MessageInitShape<typeof pb.PullImageResponseSchema>;

const reportMs = 100;

/** Pulls, and says every 100 ms how far it has come. Whoever stops listening stops the pull. */
export async function* pullWithProgress(
  ctx: Context,
  deps: Pick<AdminDeps, "pull">,
  name: string,
  credentials: pb.RegistryCredentials | undefined,
): AsyncGenerator<Message> {
  const ended = new AbortController();
  const own = { ...ctx, signal: AbortSignal.any([ctx.signal, ended.signal]) };
  let progress: PullProgress | undefined;
  let told: PullProgress | undefined;
  let isDone = false;
  const pulling = deps
    .pull(own, name, { credentials, onProgress: (now) => (progress = now) })
    .finally(() => (isDone = true));
  pulling.catch(() => {});
  try {
    while (!isDone) {
      await Promise.race([pulling, Bun.sleep(reportMs)]);
      if (progress !== undefined && progress !== told) yield toMessage(progress);
      told = progress;
    }
    const image = await pulling;
    yield { ...(progress && toMessage(progress)), imageRef: image.id };
  } finally {
    ended.abort();
    await pulling.catch(() => {});
  }
}

function toMessage({ layers }: PullProgress): Message {
  return {
    layers: layers.map(({ digest, fetchedBytes, totalBytes }) => ({
      digest,
      fetchedBytes: BigInt(fetchedBytes),
      totalBytes: BigInt(totalBytes),
    })),
  };
}
