import { type ClientStreams, settledWithin } from "./client-streams.ts";
import type { TerminalSize } from "./terminal-size.ts";

/** What a terminal can have from the beginning, if its client says so in time. `streams` returns all sizes, this one again. */
export async function awaitFirstSize(
  streams: ClientStreams,
  timeoutMs: number,
): Promise<{
  readonly size: TerminalSize | undefined;
  readonly streams: ClientStreams;
}> {
  const { sizes } = streams;
  if (sizes === undefined) return { size: undefined, streams };
  let size: TerminalSize | undefined;
  const reading = sizes.read();
  const noted = reading.then((first) => {
    size = first;
  });
  await settledWithin(noted, timeoutMs);
  let unread: typeof reading | undefined = reading;
  const read = () => {
    const next = unread ?? sizes.read();
    unread = undefined;
    return next;
  };
  return { size, streams: { ...streams, sizes: { read } } };
}
