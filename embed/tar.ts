/** An entry of a tar archive. Owner is always root, times are always zero, so that equal input gives equal bytes. */
export type TarEntry =
  | { readonly type: "directory"; readonly path: string; readonly mode: number }
  | { readonly type: "symlink"; readonly path: string; readonly target: string }
  /** Its mode is the target's: some unpackers set it. */
  | {
      readonly type: "hardlink";
      readonly path: string;
      readonly mode: number;
      readonly target: string;
    }
  | {
      readonly type: "file";
      readonly path: string;
      readonly mode: number;
      readonly content: Uint8Array;
    };

const block = 512;
const typeFlag = { file: "0", hardlink: "1", symlink: "2", directory: "5" } as const;

/** A ustar archive of the entries, in their order. */
export function tarArchive(entries: readonly TarEntry[]): Uint8Array {
  const pieces = entries.flatMap((entry) =>
    entry.type === "file"
      ? [tarHeader(entry), entry.content, tarPadding(entry.content.length)]
      : [tarHeader(entry)],
  );
  return Buffer.concat([...pieces, tarEnd]);
}

export const tarEnd: Uint8Array = new Uint8Array(2 * block);

/** What follows `size` bytes of content up to the next header. */
export function tarPadding(size: number): Uint8Array {
  return new Uint8Array((block - (size % block)) % block);
}

export function tarHeader(entry: TarEntry): Uint8Array {
  const header = Buffer.alloc(block);
  const text = (at: number, length: number, value: string) => {
    if (Buffer.byteLength(value) > length) throw new RangeError(`too long for tar: ${value}`);
    header.write(value, at);
  };
  const octal = (at: number, length: number, value: number) =>
    text(at, length, `${value.toString(8).padStart(length - 1, "0")}\0`);
  text(0, 100, entry.path);
  octal(100, 8, "mode" in entry ? entry.mode : 0o777);
  octal(108, 8, 0);
  octal(116, 8, 0);
  octal(124, 12, entry.type === "file" ? entry.content.length : 0);
  octal(136, 12, 0);
  text(148, 8, "        ");
  text(156, 1, typeFlag[entry.type]);
  text(157, 100, "target" in entry ? entry.target : "");
  text(257, 8, "ustar\x0000");
  text(265, 32, "root");
  text(297, 32, "root");
  const sum = header.reduce((total, byte) => total + byte, 0);
  text(148, 8, `${sum.toString(8).padStart(6, "0")}\0 `);
  return header;
}
