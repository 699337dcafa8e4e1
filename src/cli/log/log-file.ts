import { type FileHandle, open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { AppError, notFound } from "../../lib/errors.ts";
import { openFileInRoot } from "../../os/file/open-in-root.ts";
import { type LogLine, parseLogLine } from "./log-line.ts";

/**
 * Where a container's log is: inside of its pod's log directory no link leads out of it. A container that has that
 * mounted could make one to any file of the node.
 */
export interface LogPlace {
  readonly podDirectory: string;
  /** Below it. */
  readonly name: string;
}

export interface ReadLogOptions {
  /** Only the last so many lines of the container, which may be more lines of the file. */
  readonly tail?: number | undefined;
  /** Go on at the end of the file until this answers true, through rotations. */
  readonly until?: () => Promise<boolean>;
  readonly signal: AbortSignal;
}

const blockBytes = 64 * 1024;
/** Writers split at 16 KiB; a line this long is none of theirs. */
const maxLineBytes = 1024 * 1024;
const [firstPauseMs, longestPauseMs] = [20, 500];

/** The lines of a container's log file in order. An aborted signal just ends it. */
export async function* readLog(place: LogPlace, options: ReadLogOptions): AsyncGenerator<LogLine> {
  let file = await openLogFile(place);
  try {
    let at = options.tail === undefined ? 0 : await findTail(file, options.tail);
    let pauseMs = firstPauseMs;
    while (!options.signal.aborted) {
      // Asked before reading: what was written before the end is read after it.
      const isLastPass = options.until === undefined || (await options.until());
      const newer = options.until && (await findRotated(file, place));
      const before = at;
      for await (const line of readLines(file, at)) {
        at = line.end;
        yield parseLogLine(line.bytes);
        if (options.signal.aborted) return;
      }
      if (newer !== undefined) {
        await file.close();
        file = newer;
        at = 0;
      } else if (isLastPass) {
        return;
      } else {
        pauseMs = at > before ? firstPauseMs : Math.min(pauseMs * 2, longestPauseMs);
        await sleep(pauseMs, undefined, { signal: options.signal }).catch(() => {});
      }
    }
  } finally {
    await file.close();
  }
}

async function openLogFile(place: LogPlace): Promise<FileHandle> {
  const file = await findLogFile(place);
  if (file === undefined) throw notFound(`no log file ${place.podDirectory}/${place.name}`);
  return file;
}

async function findLogFile({ podDirectory, name }: LogPlace): Promise<FileHandle | undefined> {
  using found = openFileInRoot(podDirectory, name);
  return found && (await open(`/proc/self/fd/${found.fd}`, "r"));
}

/** The file that has taken this one's name, once it is there: nobody writes to the old one any more. */
async function findRotated(file: FileHandle, place: LogPlace): Promise<FileHandle | undefined> {
  const current = await findLogFile(place);
  if (current === undefined || (await current.stat()).ino !== (await file.stat()).ino) {
    return current;
  }
  await current.close();
  return undefined;
}

interface FileLine {
  readonly start: number;
  readonly end: number;
  /** Without the newline. Valid until the next line is asked for. */
  readonly bytes: Buffer;
}

/** Whole lines only: what the writer has not finished yet is left for the next time. */
async function* readLines(file: FileHandle, from: number): AsyncGenerator<FileLine> {
  let buffer: Buffer = Buffer.alloc(blockBytes);
  let [start, filled] = [from, 0];
  for (;;) {
    if (filled === buffer.byteLength) buffer = grow(buffer);
    const room = buffer.byteLength - filled;
    const { bytesRead } = await file.read(buffer, filled, room, start + filled);
    if (bytesRead === 0) return;
    filled += bytesRead;
    const whole = buffer.subarray(0, filled);
    let at = 0;
    for (let newline = whole.indexOf(10); newline >= 0; newline = whole.indexOf(10, at)) {
      const end = newline + 1;
      yield { start: start + at, end: start + end, bytes: whole.subarray(at, newline) };
      at = end;
    }
    buffer.copyWithin(0, at, filled);
    start += at;
    filled -= at;
  }
}

function grow(buffer: Buffer): Buffer {
  if (buffer.byteLength >= maxLineBytes) {
    throw new AppError(`log line over ${maxLineBytes} bytes`, { kind: "resource-exhausted" });
  }
  return Buffer.concat([buffer], buffer.byteLength * 2);
}

/** Where the last `count` lines of the container begin, its partial ones joined. */
async function findTail(file: FileHandle, count: number): Promise<number> {
  if (count === 0) return (await file.stat()).size;
  const starts: number[] = [];
  const openStart: { stdout?: number | undefined; stderr?: number | undefined } = {};
  for await (const { start, bytes } of readLines(file, 0)) {
    const { stream, isPartial } = parseLogLine(bytes);
    const lineStart = openStart[stream] ?? start;
    openStart[stream] = isPartial ? lineStart : undefined;
    if (isPartial) continue;
    starts.push(lineStart);
    if (starts.length > count) starts.shift();
  }
  // The streams are interleaved: a line that ended later may have begun earlier.
  return starts.reduce((first, start) => Math.min(first, start), starts[0] ?? 0);
}
