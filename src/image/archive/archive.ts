import type { Digest } from "../../oci/digest.ts";

/** The files of an image archive, whatever it is kept in. Names are relative, without `./` in front. */
export interface ImageArchive extends AsyncDisposable {
  /** For messages. */
  readonly path: string;
  has(name: string): boolean;
  sizeOf(name: string): number;
  /** Of the file's bytes, where that is known already. */
  digestOf?(name: string): Digest | undefined;
  /** At most `maxBytes`, or an error. */
  read(name: string, maxBytes: number): Promise<Buffer>;
  stream(name: string): AsyncIterable<Uint8Array>;
}
