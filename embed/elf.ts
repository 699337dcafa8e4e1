/** What the build must know of a 64-bit little-endian ELF file. */
export interface Elf {
  /** Names of the libraries it asks for (DT_NEEDED). */
  readonly needed: readonly string[];
  /** Where the loader's name (PT_INTERP) and the search path (DT_RPATH) stand in the file. */
  readonly interpreter?: FileText;
  readonly rpath?: FileText;
  /** Where the address of the version definitions (DT_VERDEF) stands in the file. */
  readonly versionDefinitions?: number;
  section(name: string): Section | undefined;
}

/** Where a section is in the file, and in memory. */
export interface Section {
  readonly offset: number;
  readonly address: bigint;
}

/** A text in the file, at `offset`, without the zero byte after it. */
export interface FileText {
  readonly offset: number;
  readonly text: string;
}

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const DT_NEEDED = 1n;
const DT_STRTAB = 5n;
const DT_RPATH = 15n;
const DT_VERDEF = 0x6fff_fffcn;

/** Reads the program headers as the kernel and the loader do, and the section headers for `section`. */
export function parseElf(bytes: Uint8Array): Elf {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u16 = (at: number) => view.getUint16(at, true);
  const u32 = (at: number) => view.getUint32(at, true);
  const u64 = (at: number) => view.getBigUint64(at, true);
  const offset = (at: number) => Number(u64(at));
  if (bytes.length < 64 || u32(0) !== 0x464c457f || bytes[4] !== 2 || bytes[5] !== 1) {
    throw new Error("not a 64-bit little-endian ELF file");
  }
  const textAt = (at: number): FileText => ({
    offset: at,
    text: new TextDecoder().decode(bytes.subarray(at, bytes.indexOf(0, at))),
  });

  const segments = Array.from({ length: u16(56) }, (_, index) => {
    const at = offset(32) + index * u16(54);
    return {
      type: u32(at),
      offset: offset(at + 8),
      address: u64(at + 16),
      size: offset(at + 32),
    };
  });
  const fileOffset = (address: bigint): number => {
    const segment = segments.find(
      (s) => s.type === PT_LOAD && address >= s.address && address < s.address + BigInt(s.size),
    );
    if (segment === undefined) throw new Error(`address ${address} is not in the file`);
    return segment.offset + Number(address - segment.address);
  };

  const interpreter = segments.find((s) => s.type === PT_INTERP);
  const dynamic = segments.find((s) => s.type === PT_DYNAMIC);
  const tags = Array.from({ length: dynamic === undefined ? 0 : dynamic.size / 16 }, (_, index) => {
    const at = (dynamic?.offset ?? 0) + index * 16;
    return { tag: u64(at), value: u64(at + 8), offset: at + 8 };
  });
  const strings = tags.find(({ tag }) => tag === DT_STRTAB);
  const texts = (wanted: bigint): FileText[] =>
    strings === undefined
      ? []
      : tags
          .filter(({ tag }) => tag === wanted)
          .map(({ value }) => textAt(fileOffset(strings.value) + Number(value)));
  const rpath = texts(DT_RPATH)[0];
  const definitions = tags.find(({ tag }) => tag === DT_VERDEF);

  return {
    needed: texts(DT_NEEDED).map(({ text }) => text),
    ...(interpreter !== undefined && { interpreter: textAt(interpreter.offset) }),
    ...(rpath !== undefined && { rpath }),
    ...(definitions !== undefined && { versionDefinitions: definitions.offset }),
    section(name) {
      const header = (index: number) => offset(40) + index * u16(58);
      const names = offset(header(u16(62)) + 24);
      for (let index = 0; index < u16(60); index++) {
        const at = header(index);
        if (textAt(names + u32(at)).text === name) {
          return { offset: offset(at + 24), address: u64(at + 16) };
        }
      }
      return undefined;
    },
  };
}
