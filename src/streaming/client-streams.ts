import type { ByteSource } from "../lib/byte-reader.ts";
import type { Outcome } from "./status.ts";
import type { TerminalSize } from "./terminal-size.ts";

export interface WantedStreams {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly terminal: boolean;
}

export interface ByteSink {
  /** Resolves when there is room for more. */
  write(bytes: Uint8Array): Promise<void>;
  end(): Promise<void>;
}

/** What a client of exec or attach has opened, over whichever protocol. */
export interface ClientStreams {
  readonly stdin: ByteSource | undefined;
  readonly stdout: ByteSink | undefined;
  readonly stderr: ByteSink | undefined;
  /** Sizes of the client's terminal; an older one may be left out for a newer. */
  readonly sizes: { read(): Promise<TerminalSize | undefined> } | undefined;
  /** Aborts when the client has left. */
  readonly gone: AbortSignal;
  /** The last word, after all output; resolves when the client has closed, or was given time to. */
  finish(outcome: Outcome): Promise<void>;
}

/** Clients close when they have read the outcome; a connection that is closed under them may lose them the end. */
export const lingerMs = 5000;

/** Nobody is kept waiting by a process that does not end by itself. */
export function settledWithin(promise: Promise<unknown>, ms: number): Promise<void> {
  const { promise: over, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const done = () => {
    clearTimeout(timer);
    resolve();
  };
  promise.then(done, done);
  return over;
}
