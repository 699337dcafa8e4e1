/**
 * Writes tar archives byte for byte the same every time: what image layers are made of in tests, with the
 * oddities that real layers have (PAX and GNU long names, base-256 numbers, extended attributes, holes).
 */

interface Common {
  /** As it stands in the archive; `./` in front and `/` behind are kept. */
  readonly path: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Seconds since 1970; a fraction becomes a PAX record. */
  readonly mtime?: number;
  /** Extended attributes by full name, as PAX `SCHILY.xattr` records. */
  readonly xattrs?: Readonly<Record<string, Uint8Array>>;
}

export type TarEntry = Common &
  (
    | { readonly type: "file"; readonly data: Uint8Array | string }
    | {
        readonly type: "sparse-file";
        readonly size: number;
        readonly parts: readonly { readonly offset: number; readonly data: string }[];
      }
    | { readonly type: "directory" | "fifo" }
    | { readonly type: "symlink" | "hard-link"; readonly target: string }
    | {
        readonly type: "character-device" | "block-device";
        readonly major: number;
        readonly minor: number;
      }
  );

export interface TarOptions {
  /** How names over 100 bytes and numbers over 2097151 are written. */
  readonly dialect?: "pax" | "gnu";
}

const blockSize = 512;
const maxName = 100;
const maxOctalId = 0o7777777;
/** Every entry's time unless it says another, so that digests stay the same: 2024-01-01T00:00:00Z. */
const defaultMtime = 1_704_067_200;

const typeFlags = {
  file: "0",
  "sparse-file": "0",
  "hard-link": "1",
  symlink: "2",
  "character-device": "3",
  "block-device": "4",
  directory: "5",
  fifo: "6",
} as const satisfies Record<TarEntry["type"], string>;

const encoder = new TextEncoder();

export function packTar(entries: readonly TarEntry[], options: TarOptions = {}): Uint8Array {
  const dialect = options.dialect ?? "pax";
  const blocks = entries.flatMap((entry) => packEntry(entry, dialect));
  return Buffer.concat([...blocks, new Uint8Array(2 * blockSize)]);
}

/** A global PAX header, as `git archive` puts in front: readers must take it for no file. */
export function packGlobalHeader(value: string, key = "comment"): Uint8Array {
  const record = paxRecord(key, encoder.encode(value));
  return Buffer.concat([
    header({ name: "pax_global_header", typeFlag: "g", size: record.length }),
    padded(record),
  ]);
}

function packEntry(entry: TarEntry, dialect: "pax" | "gnu"): Uint8Array[] {
  const blocks: Uint8Array[] = [];
  const records: Uint8Array[] = [];
  const addRecord = (key: string, value: string | Uint8Array): void => {
    records.push(paxRecord(key, toBytes(value)));
  };

  const path =
    entry.type === "directory" && !entry.path.endsWith("/") ? `${entry.path}/` : entry.path;
  const target = entry.type === "symlink" || entry.type === "hard-link" ? entry.target : "";
  for (const [text, key, flag] of [
    [target, "linkpath", "K"],
    [path, "path", "L"],
  ] as const) {
    if (!needsExtension(text)) continue;
    if (dialect === "pax") addRecord(key, text);
    else blocks.push(...gnuLongName(text, flag));
  }

  let data = entry.type === "file" ? toBytes(entry.data) : new Uint8Array();
  if (entry.type === "sparse-file") {
    data = sparseData(entry);
    addRecord("GNU.sparse.major", "1");
    addRecord("GNU.sparse.minor", "0");
    addRecord("GNU.sparse.name", path);
    addRecord("GNU.sparse.realsize", String(entry.size));
  }
  const mtime = entry.mtime ?? defaultMtime;
  if (!Number.isInteger(mtime)) addRecord("mtime", String(mtime));
  for (const [key, id] of [
    ["uid", entry.uid ?? 0],
    ["gid", entry.gid ?? 0],
  ] as const) {
    if (dialect === "pax" && id > maxOctalId) addRecord(key, String(id));
  }
  for (const [name, value] of Object.entries(entry.xattrs ?? {})) {
    addRecord(`SCHILY.xattr.${name}`, value);
  }

  if (records.length > 0) {
    const body = Buffer.concat(records);
    blocks.push(header({ name: "PaxHeaders/entry", typeFlag: "x", size: body.length }));
    blocks.push(padded(body));
  }
  const isDevice = entry.type === "character-device" || entry.type === "block-device";
  blocks.push(
    header({
      name: path,
      typeFlag: typeFlags[entry.type],
      size: data.length,
      mode: entry.mode ?? (entry.type === "directory" ? 0o755 : 0o644),
      uid: dialect === "pax" ? Math.min(entry.uid ?? 0, maxOctalId) : (entry.uid ?? 0),
      gid: dialect === "pax" ? Math.min(entry.gid ?? 0, maxOctalId) : (entry.gid ?? 0),
      mtime: Math.floor(mtime),
      target,
      ...(isDevice ? { major: entry.major, minor: entry.minor } : {}),
    }),
  );
  if (data.length > 0) blocks.push(padded(data));
  return blocks;
}

function needsExtension(text: string): boolean {
  return encoder.encode(text).length > maxName || /[^\x20-\x7e]/u.test(text);
}

function gnuLongName(text: string, flag: "K" | "L"): Uint8Array[] {
  const body = encoder.encode(`${text}\0`);
  return [header({ name: "././@LongLink", typeFlag: flag, size: body.length }), padded(body)];
}

/** PAX sparse format 1.0: a map of (offset, length) pairs in a block of its own, then the data without holes. */
function sparseData(entry: TarEntry & { readonly type: "sparse-file" }): Uint8Array {
  const pieces = entry.parts.map((part) => ({
    offset: part.offset,
    // Whole blocks, as file systems have them: GNU tar starts each piece on a block, Go's reader does not.
    bytes: padded(encoder.encode(part.data)),
  }));
  // The last pair, of length 0, tells where the file ends when it ends in a hole.
  const pairs = [
    ...pieces.map((piece) => `${piece.offset}\n${piece.bytes.length}\n`),
    `${entry.size}\n0\n`,
  ];
  const map = encoder.encode(`${pairs.length}\n${pairs.join("")}`);
  return Buffer.concat([padded(map), ...pieces.map((piece) => piece.bytes)]);
}

interface HeaderFields {
  readonly name: string;
  readonly typeFlag: string;
  readonly size: number;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  readonly target?: string;
  readonly major?: number;
  readonly minor?: number;
}

function header(fields: HeaderFields): Uint8Array {
  const block = Buffer.alloc(blockSize);
  // A name that does not fit stands in an extension; what is cut off here is never read.
  block.write(fields.name, 0, maxName);
  writeNumber(block, 100, 8, fields.mode ?? 0o644);
  writeNumber(block, 108, 8, fields.uid ?? 0);
  writeNumber(block, 116, 8, fields.gid ?? 0);
  writeNumber(block, 124, 12, fields.size);
  writeNumber(block, 136, 12, fields.mtime ?? defaultMtime);
  block.write("        ", 148);
  block.write(fields.typeFlag, 156);
  block.write(fields.target ?? "", 157, maxName);
  block.write("ustar\x0000", 257, "latin1");
  writeNumber(block, 329, 8, fields.major ?? 0);
  writeNumber(block, 337, 8, fields.minor ?? 0);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

function writeNumber(block: Buffer, offset: number, length: number, value: number): void {
  const octal = value.toString(8);
  if (octal.length < length) {
    block.write(octal.padStart(length - 1, "0"), offset);
    return;
  }
  // GNU base-256: the top bit set, the number big-endian behind it.
  block[offset] = 0x80;
  block.writeUIntBE(value, offset + length - 6, 6);
}

/** `LENGTH KEY=VALUE\n`, where LENGTH counts its own digits too. */
function paxRecord(key: string, value: Uint8Array): Uint8Array {
  const rest = 1 + encoder.encode(key).length + 1 + value.length + 1;
  let length = rest + String(rest).length;
  if (String(length).length > String(rest).length) length = rest + String(length).length;
  return Buffer.concat([encoder.encode(`${length} ${key}=`), value, encoder.encode("\n")]);
}

function padded(bytes: Uint8Array): Uint8Array {
  const size = Math.ceil(bytes.length / blockSize) * blockSize;
  return Buffer.concat([bytes], size);
}

function toBytes(data: Uint8Array | string): Uint8Array {
  return typeof data === "string" ? encoder.encode(data) : data;
}
