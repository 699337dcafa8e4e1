import { createGzip } from "node:zlib";
import { pack } from "tar-stream";
import { readLimited } from "../../lib/collect.ts";
import { describe } from "../../lib/errors.ts";

/** One file of a support bundle. Reading it may fail: then the file says why. */
export interface BundlePart {
  readonly name: string;
  /** What it is, for who reads the bundle. */
  readonly about: string;
  readonly read: () => string | Promise<string>;
}

const maxPartBytes = 32 << 20;
const maxBundleBytes = 256 << 20;

/** A tar.gz of all parts in a directory of that name, with a README that lists them. */
export async function makeBundle(
  directory: string,
  at: Date,
  parts: readonly BundlePart[],
): Promise<Uint8Array> {
  const archive = pack();
  const add = (name: string, text: string) =>
    archive.entry({ name: `${directory}/${name}`, mode: 0o600, mtime: at }, text);
  const list = parts.map(({ name, about }) => `${name}: ${about}`).join("\n");
  add("README", `${intro}\n${list}\n`);
  for (const { name, read } of parts) {
    let text: string;
    try {
      text = await read();
    } catch (err) {
      text = `not read: ${describe(err)}\n`;
    }
    add(name, text.slice(-maxPartBytes));
  }
  archive.finalize();
  return await readLimited(archive.pipe(createGzip()), maxBundleBytes);
}

const intro = `What crib knows of itself on this node, for who is to find out what is wrong with it. Environments, arguments, annotations
and labels of containers, credentials and the contents of registry files are not in it; what looks like a secret in logs and
settings is replaced by ***. Names of pods, images, hosts and directories are in it.
`;
