import { closeSync, constants, openSync, readFileSync, rmSync, writeSync } from "node:fs";

/**
 * What a log lacks because its disk took no more. It is kept in a file on tmpfs as well, so that the successor of a
 * killed monitor goes on counting.
 */
export class LogGap {
  readonly #file: string | undefined;
  bytes = 0;
  /** Why the disk took no more, the last time it was tried. */
  reason = "";

  constructor(file?: string) {
    this.#file = file;
    const [, bytes, reason] = read(file)?.match(/^(\d{1,15}) (.*)\n/) ?? [];
    if (bytes === undefined || reason === undefined) return;
    this.bytes = Number(bytes);
    this.reason = reason;
  }

  add(bytes: number): void {
    this.bytes += bytes;
    if (this.#file === undefined) return;
    try {
      overwrite(this.#file, `${this.bytes} ${this.reason}\n`);
    } catch {
      // The tmpfs is full too. The count is lost only if we are.
    }
  }

  /** The log says what is missing, or nothing is. */
  close(): void {
    this.bytes = 0;
    if (this.#file !== undefined) rmSync(this.#file, { force: true });
  }
}

function read(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file, "latin1");
  } catch {
    return undefined;
  }
}

/** With one call that a kill cannot divide. What a longer text has left behind the first line counts for nothing. */
function overwrite(file: string, text: string): void {
  const fd = openSync(file, constants.O_WRONLY | constants.O_CREAT, 0o600);
  try {
    writeSync(fd, text, 0, "latin1");
  } finally {
    closeSync(fd);
  }
}
