import { createReadStream } from "node:fs";
import { createGunzip } from "node:zlib";
import type { Context } from "../../lib/context.ts";
import { AppError, failedPrecondition, invalidArgument } from "../../lib/errors.ts";
import type { SpecDevice } from "../../oci/runtime-spec.ts";
import { type TarEntry, TarReader } from "../../snapshot/tar/tar-reader.ts";

/** The devices of every container: null, zero, full, random, urandom, tty and ptmx. */
const standardDevices = ["1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:2"];
const maxEntries = 1_000_000;

export interface TmpfsOptions {
  readonly devices: readonly SpecDevice[];
  readonly maxBytes: number;
  /** Gets the names of its symbolic links. */
  readonly links: Set<string>;
}

/**
 * Judges the content of a tmpfs, which CRIU gives to the node's tar as root: nothing in it leads out of it, and no device
 * is in it that the container has not. Throws `failed-precondition`.
 */
export async function judgeTmpfs(
  ctx: Context,
  path: string,
  { devices, maxBytes, links: allLinks }: TmpfsOptions,
): Promise<void> {
  const name = path.split("/").at(-1);
  const allowed = new Set([
    ...standardDevices,
    ...devices.filter(({ type }) => type === "c").map(({ major, minor }) => `${major}:${minor}`),
  ]);
  const links = new Set<string>();
  let entries = 0;
  let bytes = 0;
  const reader = new TarReader({
    entry: (entry) => {
      if (++entries > maxEntries) throw exhausted(`${name}: over ${maxEntries} entries`);
      const reason = faultOf(entry, allowed, links);
      if (reason !== undefined) throw failedPrecondition(`${name}: ${reason}`);
    },
    data: () => {},
    end: () => {},
  });
  const source = createReadStream(path);
  const expanded = source.pipe(createGunzip());
  source.on("error", (err) => expanded.destroy(err));
  try {
    for await (const piece of expanded) {
      ctx.signal.throwIfAborted();
      bytes += piece.byteLength;
      if (bytes > maxBytes) throw exhausted(`${name}: over ${maxBytes} bytes`);
      reader.write(piece);
    }
  } catch (err) {
    if (err instanceof AppError || ctx.signal.aborted) throw err;
    throw invalidArgument(`${name}: not a compressed archive`, err);
  } finally {
    source.destroy();
    expanded.destroy();
  }
  reader.finish();
  for (const link of links) allLinks.add(link);
}

function faultOf(
  entry: TarEntry,
  devices: ReadonlySet<string>,
  links: Set<string>,
): string | undefined {
  const name = textOf(entry.name);
  if (leadsOut(name)) return `${JSON.stringify(name.slice(0, 100))} leads out of it`;
  const isBelowLink = (path: readonly string[]) =>
    path.some((_, i) => links.has(path.slice(0, i).join("/")));
  const parts = partsOf(name);
  if (isBelowLink(parts)) return `${JSON.stringify(name.slice(0, 100))} is below a link`;
  if (entry.type === "symlink") links.add(parts.join("/"));
  const target = entry.type === "hard-link" ? textOf(entry.linkName) : "";
  if (leadsOut(target) || isBelowLink(partsOf(target))) {
    return `${JSON.stringify(name.slice(0, 100))} is a link out of it`;
  }
  const isDevice = entry.type === "character-device" || entry.type === "block-device";
  const isAllowed = entry.type === "character-device" && devices.has(entry.device.join(":"));
  if (isDevice && !isAllowed)
    return `device ${entry.device.join(":")}, which the container has not`;
  return undefined;
}

function partsOf(name: string): readonly string[] {
  return name.split("/").filter((part) => part !== "" && part !== ".");
}

function leadsOut(name: string): boolean {
  return name.startsWith("/") || name.split("/").includes("..");
}

function textOf(name: Uint8Array): string {
  return Buffer.from(name).toString("latin1");
}

function exhausted(message: string): AppError {
  return new AppError(message, { kind: "resource-exhausted" });
}
