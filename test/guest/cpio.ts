/** One entry of an archive; its path has no slash in front. */
export type CpioEntry =
  | { readonly type: "directory"; readonly path: string }
  | { readonly type: "link"; readonly path: string; readonly target: string }
  | { readonly type: "file"; readonly path: string; readonly data: Uint8Array | string };

const modes = { directory: 0o040755, link: 0o120777, file: 0o100755 } as const;

/** A cpio archive in the form that the kernel takes for an initramfs (newc). Several in a row are one. */
export function packCpio(entries: readonly CpioEntry[]): Uint8Array {
  const parts = entries.flatMap((entry, index) => {
    const data = entry.type === "file" ? entry.data : entry.type === "link" ? entry.target : "";
    return [header(entry.path, modes[entry.type], index + 1, Buffer.byteLength(data)), pad(data)];
  });
  return Buffer.concat([...parts, header("TRAILER!!!", 0, 0, 0)]);
}

/** Sixteen fields of six and eight hex digits, then the name. */
function header(path: string, mode: number, inode: number, size: number): Uint8Array {
  const name = `${path}\0`;
  const links = 1;
  const fields = [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name.length, 0];
  const digits = fields.map((field) => field.toString(16).padStart(8, "0"));
  return pad(`070701${digits.join("")}${name}`);
}

function pad(data: Uint8Array | string): Uint8Array {
  const bytes = Buffer.from(data);
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}
