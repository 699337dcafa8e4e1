import { openPipe, readInto, setNonblocking } from "../os/file/io.ts";
import type { OwnedFd } from "../os/file/owned-fd.ts";

/** What `enter` reports before it ends. */
export interface Report {
  /** The child, on the node; 0 when there has been none. */
  readonly pid: number;
  readonly failure: { readonly errno: number; readonly step: string } | undefined;
}

const maxBytes = 256;

/** The pipe of the report. */
export class ReportPipe implements Disposable {
  readonly #readEnd: OwnedFd;
  readonly #bytes = Buffer.alloc(maxBytes);
  #length = 0;
  /** For `enter`; to be closed here as soon as it has it. */
  readonly writeEnd: OwnedFd;

  constructor() {
    const { readEnd, writeEnd } = openPipe();
    this.#readEnd = readEnd;
    this.writeEnd = writeEnd;
    setNonblocking(readEnd.fd);
  }

  /** What has been reported so far. */
  read(): Report {
    const room = maxBytes - this.#length;
    if (room > 0) {
      this.#length += readInto(this.#readEnd.fd, this.#bytes, this.#length, room) ?? 0;
    }
    return parseReport(this.#bytes.subarray(0, this.#length));
  }

  [Symbol.dispose](): void {
    this.writeEnd[Symbol.dispose]();
    this.#readEnd[Symbol.dispose]();
  }
}

/** The child's pid, then an errno and the step that failed, if one has. */
export function parseReport(bytes: Buffer): Report {
  if (bytes.byteLength < 4) return { pid: 0, failure: undefined };
  const pid = bytes.readInt32LE(0);
  if (bytes.byteLength < 8) return { pid, failure: undefined };
  return { pid, failure: { errno: bytes.readInt32LE(4), step: bytes.toString("latin1", 8) } };
}
