import { type AppError, invalidArgument } from "../../lib/errors.ts";
import type { Name, Timestamp } from "../../os/file/inode.ts";

/** What a PAX extended header says about an entry, as far as it concerns unpacking. */
export interface PaxRecords {
  readonly path?: Name;
  readonly linkPath?: Name;
  readonly sizeBytes?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: Timestamp;
  readonly attributes?: readonly (readonly [attribute: Name, value: Name])[];
  /** What GNU's sparse formats 0.0, 0.1 and 1.0 say between them (sparse-layout.ts). */
  readonly sparseMajor?: number;
  readonly sparseMinor?: number;
  readonly sparseName?: Name;
  readonly sparseSizeBytes?: number;
  readonly sparseCount?: number;
  /** Offset and length in turn. */
  readonly sparseNumbers?: readonly number[];
}

type Draft = { -readonly [Key in keyof PaxRecords]: PaxRecords[Key] } & {
  sparseNumbers?: number[];
};

/** The only keys of which all count, and whose order does. */
const repeatedKeys: ReadonlySet<string> = new Set(["GNU.sparse.offset", "GNU.sparse.numbytes"]);
const attributePrefix = "SCHILY.xattr.";
const maxAttributes = 1024;

/**
 * Parses `LENGTH KEY=VALUE\n` records (pax(1)). Of repeated keys the last one counts, and where that one is empty, the
 * header's own value. Unknown keys say nothing that matters here.
 */
export function parsePax(body: Buffer): PaxRecords {
  const records: Draft = {};
  const last = new Map<string, Buffer>();
  const attributes = new Map<string, readonly [Name, Name]>();
  for (const [key, value] of splitRecords(body)) {
    if (key.startsWith(attributePrefix)) {
      const attribute = key.slice(attributePrefix.length);
      attributes.set(attribute, [Buffer.from(attribute, "latin1"), value]);
    } else if (repeatedKeys.has(key)) takeSparseNumber(records, key, decimal(value));
    else last.set(key, value);
  }
  for (const [key, value] of last) {
    if (value.byteLength > 0) apply(records, key, value);
    // To GNU tar that is an empty name, to Go it is nothing.
    else if (key === "path" || key === "linkpath") throw malformed();
  }
  if (attributes.size > maxAttributes) throw malformed();
  if (attributes.size > 0) records.attributes = [...attributes.values()];
  return records;
}

/** The records as they stand; the length of each counts itself. */
function* splitRecords(body: Buffer): Generator<readonly [key: string, value: Buffer]> {
  for (let at = 0; at < body.byteLength; ) {
    const blank = body.indexOf(0x20, at);
    const digits = body.toString("latin1", at, Math.min(blank, at + 8));
    if (blank < 0 || !/^[1-9][0-9]{0,6}$/.test(digits)) throw malformed();
    const end = at + Number(digits);
    if (end > body.byteLength || body[end - 1] !== 0x0a) throw malformed();
    const equals = body.indexOf(0x3d, blank);
    if (equals < 0 || equals >= end) throw malformed();
    yield [
      body.toString("latin1", blank + 1, equals),
      Buffer.from(body.subarray(equals + 1, end - 1)),
    ];
    at = end;
  }
}

function malformed(): AppError {
  return invalidArgument("malformed PAX header");
}

function apply(records: Draft, key: string, value: Buffer): void {
  switch (key) {
    case "path":
      records.path = nameOf(value);
      break;
    case "linkpath":
      records.linkPath = nameOf(value);
      break;
    case "size":
      records.sizeBytes = decimal(value);
      break;
    case "uid":
      records.uid = decimal(value);
      break;
    case "gid":
      records.gid = decimal(value);
      break;
    case "mtime":
      records.mtime = timestamp(value);
      break;
    case "GNU.sparse.major":
      records.sparseMajor = decimal(value);
      break;
    case "GNU.sparse.minor":
      records.sparseMinor = decimal(value);
      break;
    case "GNU.sparse.name":
      records.sparseName = nameOf(value);
      break;
    case "GNU.sparse.realsize":
    case "GNU.sparse.size":
      records.sparseSizeBytes = decimal(value);
      break;
    case "GNU.sparse.numblocks":
      records.sparseCount = decimal(value);
      break;
    case "GNU.sparse.map":
      records.sparseNumbers = value
        .toString("latin1")
        .split(",")
        .map((text) => decimal(text));
      break;
    default:
      if (key.startsWith("GNU.sparse.")) throw malformed();
  }
}

function takeSparseNumber(records: Draft, key: string, value: number): void {
  records.sparseNumbers ??= [];
  const isExpected = (records.sparseNumbers.length % 2 === 0) === (key === "GNU.sparse.offset");
  if (!isExpected) throw malformed();
  records.sparseNumbers.push(value);
}

function nameOf(value: Buffer): Name {
  if (value.includes(0)) throw invalidArgument("NUL byte in a PAX name");
  return value;
}

function decimal(value: Buffer | string): number {
  const text = value.toString("latin1");
  const result = Number(text);
  if (!/^[0-9]{1,16}$/.test(text) || !Number.isSafeInteger(result)) throw malformed();
  return result;
}

/** Seconds with an optional fraction; nanoseconds count upwards from the second below, as in the kernel. */
function timestamp(value: Buffer): Timestamp {
  const match = /^(-?)([0-9]{1,12})(?:\.([0-9]{0,64}))?$/.exec(value.toString("latin1"));
  if (match === null) throw malformed();
  const [, sign, whole = "", fraction = ""] = match;
  const nanoseconds = Number(fraction.padEnd(9, "0").slice(0, 9));
  if (sign !== "-") return { seconds: Number(whole), nanoseconds };
  return nanoseconds === 0
    ? { seconds: 0 - Number(whole), nanoseconds: 0 }
    : { seconds: -Number(whole) - 1, nanoseconds: 1_000_000_000 - nanoseconds };
}
