import { run } from "./command.ts";
import { type Elf, type FileText, parseElf } from "./elf.ts";

/** Room for the path of the data directory and what follows it. */
const room = 255;
const placeholder = "x".repeat(room);

/** Where the launcher writes an absolute path into an unpacked file, and which: `path` is below its directory. */
export interface Patch {
  readonly offset: number;
  readonly length: number;
  readonly path: string;
}

/**
 * Makes the executable load its libraries, loader included, from the payload. An ELF file names its loader by an
 * absolute path, known only where it is unpacked, so the build leaves room and the launcher fills it in. The same for
 * the search path: `$ORIGIN` would need /proc, and is wrong in crun, which starts itself again from a copy in memory.
 * RPATH rather than RUNPATH, because it also holds for what the libraries load, and wins over LD_LIBRARY_PATH.
 */
export async function usePrivateLibraries(executable: string): Promise<void> {
  await run([
    ...["patchelf", "--set-interpreter", placeholder],
    ...["--force-rpath", "--set-rpath", placeholder, executable],
  ]);
  await findVersionsAgain(executable);
}

/** patchelf moves the version definitions and forgets to say where: the loader would read whatever is there now. */
async function findVersionsAgain(executable: string): Promise<void> {
  const bytes = Buffer.from(await Bun.file(executable).bytes());
  const elf = parseElf(bytes);
  const section = elf.section(".gnu.version_d");
  if (elf.versionDefinitions === undefined || section === undefined) return;
  bytes.writeBigUInt64LE(section.address, elf.versionDefinitions);
  await Bun.write(executable, bytes);
}

/** The places that `usePrivateLibraries` made, in the order of the file; none in any other file. */
export function patchesOf(bytes: Uint8Array, loader: string): Patch[] {
  if (!isElf(bytes)) return [];
  const elf: Elf = parseElf(bytes);
  const patch = (place: FileText | undefined, path: string): Patch[] =>
    place?.text === placeholder ? [{ offset: place.offset, length: room, path }] : [];
  return [...patch(elf.interpreter, `lib/${loader}`), ...patch(elf.rpath, "lib")].sort(
    (a, b) => a.offset - b.offset,
  );
}

function isElf(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.subarray(0, 4)).toString("latin1") === "\x7fELF";
}
