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
  /** Go on at the end of the file until this responses true, through rotations. */
  readonly until?: () => Promise<boolean>;
  readonly signal: AbortSignal;
}

const blockBytes = 64 * 1024;
/** Writers split at 16 KiB; a line this long is none of theirs. */
const maxLineBytes = 1024 * 1024;
const [firstPauseMs, longestPauseMs] = [20, 500];

/**
 * The lines of a container's log in order, with those of files that the monitor has rotated (`0.log.1` is the one before
 * `0.log`). An aborted signal just ends it.
 */
export async function* readLog(place: LogPlace, options: ReadLogOptions): AsyncGenerator<LogLine> {
  await using files = await LogFiles.open(place);
  let at = options.tail === undefined ? 0 : await files.skipToTail(options.tail);
  let pauseMs = firstPauseMs;
  while (!options.signal.aborted) {
    // Asked before reading: what was written before the end is read after it.
    const isLastPass = options.until === undefined || (await options.until());
    if (options.until !== undefined) await files.findNewer();
    const before = at;
    for await (const line of readLines(files.current, at)) {
      at = line.end;
      yield parseLogLine(line.bytes);
      if (options.signal.aborted) return;
      // Who is slower than the container holds on to each file before it is removed.
      if (options.until !== undefined) await files.findNewerNowAndThen();
    }
    if (await files.next()) {
      at = 0;
      if (files.isAfterGap) yield gapLine();
    } else if (isLastPass) {
      return;
    } else {
      pauseMs = at > before ? firstPauseMs : Math.min(pauseMs * 2, longestPauseMs);
      await sleep(pauseMs, undefined, { signal: options.signal }).catch(() => {});
    }
  }
}

function gapLine(): LogLine {
  const content = Buffer.from("crib: output is missing here: its log was rotated away too fast");
  return { time: new Date().toISOString(), stream: "stderr", isPartial: false, content };
}

/** More than any `max-file`. */
const maxRotated = 1000;
const lookEveryMs = 20;

/** The files of one log, oldest first, each open: what is renamed or removed meanwhile can still be read. */
class LogFiles implements AsyncDisposable {
  readonly #place: LogPlace;
  /** The first is being read. */
  readonly #open: FileHandle[];
  /** Those before which something was rotated away that was never seen. */
  readonly #afterGap = new Set<FileHandle>();
  #lookedAt = 0;

  private constructor(place: LogPlace, files: FileHandle[]) {
    this.#place = place;
    this.#open = files;
  }

  static async open(place: LogPlace): Promise<LogFiles> {
    const files = [await openLogFile(place)];
    for (let i = 1; i < maxRotated; i++) {
      const older = await findLogFile(place, `.${i}`);
      if (older === undefined) break;
      files.unshift(older);
    }
    return new LogFiles(place, files);
  }

  get current(): FileHandle {
    const [first] = this.#open;
    if (first === undefined) throw new Error("no log file is open");
    return first;
  }

  /** Closes those that are older than the last `count` lines, and returns where these begin in the one that is left. */
  async skipToTail(count: number): Promise<number> {
    let wanted = count;
    let at = 0;
    const kept: FileHandle[] = [];
    for (let file = this.#open.pop(); file !== undefined; file = this.#open.pop()) {
      kept.unshift(file);
      const tail = await findTail(file, wanted);
      at = tail.at;
      wanted -= tail.lines;
      if (wanted <= 0) break;
    }
    for (const file of this.#open.splice(0, this.#open.length, ...kept)) await file.close();
    return at;
  }

  async findNewerNowAndThen(): Promise<void> {
    if (performance.now() - this.#lookedAt > lookEveryMs) await this.findNewer();
  }

  /** Opens what has come after the newest that is open. */
  async findNewer(): Promise<void> {
    this.#lookedAt = performance.now();
    const newest = this.#open.at(-1);
    if (newest === undefined) return;
    const { ino } = await newest.stat();
    const newer: FileHandle[] = [];
    for (let i = 0; i < maxRotated; i++) {
      const file = await findLogFile(this.#place, i === 0 ? "" : `.${i}`);
      if (file !== undefined && (await file.stat()).ino !== ino) {
        newer.unshift(file);
        continue;
      }
      await file?.close();
      // A kubelet's rotation leaves no `.1`: what is newer is the one file then.
      const [oldest] = newer;
      if (file === undefined && i > 1 && oldest !== undefined) this.#afterGap.add(oldest);
      break;
    }
    this.#open.push(...newer);
  }

  /** Goes on to the next file; false where there is none. */
  async next(): Promise<boolean> {
    if (this.#open.length < 2) return false;
    await this.#open.shift()?.close();
    return true;
  }

  /** Whether something is missing before the current file, which nobody has read. */
  get isAfterGap(): boolean {
    return this.#afterGap.has(this.current);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const file of this.#open.splice(0)) await file.close();
  }
}

async function openLogFile(place: LogPlace): Promise<FileHandle> {
  const file = await findLogFile(place);
  if (file === undefined) throw notFound(`no log file ${place.podDirectory}/${place.name}`);
  return file;
}

async function findLogFile(
  { podDirectory, name }: LogPlace,
  suffix = "",
): Promise<FileHandle | undefined> {
  using found = openFileInRoot(podDirectory, `${name}${suffix}`);
  return found && (await open(`/proc/self/fd/${found.fd}`, "r"));
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

/** Where the last `count` lines of the container begin, its partial ones joined, and how many of them are there. */
async function findTail(
  file: FileHandle,
  count: number,
): Promise<{ readonly at: number; readonly lines: number }> {
  if (count === 0) return { at: (await file.stat()).size, lines: 0 };
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
  const at = starts.reduce((first, start) => Math.min(first, start), starts[0] ?? 0);
  return { at, lines: starts.length };
}
