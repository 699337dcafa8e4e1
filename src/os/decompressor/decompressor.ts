/** A decompressor in native code that works in the calling thread: it is fed and drained in turns. */
export interface Decompressor extends Disposable {
  /** Takes the next input. The bytes must stay as they are until `decompress` has returned 0. */
  feed(input: Uint8Array): void;
  /** Fills `output` as far as it can and returns how far; 0 when it wants more input. Throws on damaged input. */
  decompress(output: Uint8Array): number;
  /** Whether the input may end here: all that was begun is complete. */
  readonly isComplete: boolean;
}
