import { abortable } from "../lib/abortable.ts";
import type { ByteSource } from "../lib/byte-reader.ts";
import type { ByteSink, ClientStreams } from "./client-streams.ts";
import type { TalkingProcess } from "./deps.ts";
import type { Outcome } from "./status.ts";

/**
 * Carries bytes between a client and a process until the process has ended and all of its output is with the client,
 * whether or not the client's input has ended. Each side waits for the other where that is slow. Throws when the
 * client leaves, or the signal aborts, before.
 */
export async function relay(
  signal: AbortSignal,
  streams: ClientStreams,
  process: TalkingProcess,
): Promise<Outcome> {
  const over = new AbortController();
  const all = AbortSignal.any([signal, streams.gone, over.signal]);
  const input = Promise.allSettled([
    copyInput(streams.stdin, process, all),
    copySizes(streams, process, all),
  ]);
  try {
    const output = Promise.all([
      process.ended,
      copyOutput(process.stdout, streams.stdout),
      copyOutput(process.stderr, streams.stderr),
    ]);
    const [exitCode] = await abortable(output, all);
    return exitCode === undefined ? { kind: "end" } : { kind: "exit", exitCode };
  } finally {
    over.abort();
    await input;
  }
}

async function copyOutput(from: ByteSource | undefined, to: ByteSink | undefined): Promise<void> {
  for (let chunk = await from?.read(); chunk; chunk = await from?.read()) await to?.write(chunk);
  await to?.end();
}

/** A process that does not read its input any more is not in the way of a client that goes on sending. */
async function copyInput(
  from: ByteSource | undefined,
  process: TalkingProcess,
  signal: AbortSignal,
): Promise<void> {
  if (from === undefined) return;
  let isRead = true;
  for (let chunk = await next(from, signal); chunk; chunk = await next(from, signal)) {
    try {
      if (isRead) await process.writeStdin(chunk, signal);
    } catch (err) {
      if (signal.aborted) throw err;
      isRead = false;
    }
  }
  process.endStdin();
}

async function copySizes(
  { sizes }: ClientStreams,
  process: TalkingProcess,
  signal: AbortSignal,
): Promise<void> {
  if (sizes === undefined) return;
  for (let size = await next(sizes, signal); size; size = await next(sizes, signal)) {
    await process.resize(size);
  }
}

async function next<T>(
  source: { read(): Promise<T | undefined> },
  signal: AbortSignal,
): Promise<T | undefined> {
  return await abortable(source.read(), signal);
}
