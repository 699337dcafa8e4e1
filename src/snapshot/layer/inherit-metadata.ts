import {
  changeMode,
  changeOwner,
  type FileStatus,
  findStatus,
  isDirectory,
  type Name,
  readAttributes,
  setAttribute,
  setTime,
  type Timestamp,
} from "../../os/file/inode.ts";
import { pathOf, type Segments } from "../tar/entry-name.ts";
import { isWhiteout, opaqueAttribute } from "./layer-tree.ts";

/** What a directory passes on to its like in a layer above. */
interface Metadata {
  readonly status: FileStatus;
  readonly attributes: readonly (readonly [attribute: Name, value: Name])[];
}

/**
 * Directories of the layer at `fs` that its archive left out get the metadata that they have in the layers below (`lower`,
 * highest first). Found as overlayfs would find them, but without a mount: no link is followed anywhere. Returns those
 * directories with the times that they have got.
 */
export function inheritMetadata(
  fs: string,
  lower: readonly string[],
  implied: readonly string[],
): readonly (readonly [Segments, Timestamp])[] {
  return implied.flatMap((name) => {
    const path = name.split("/");
    const metadata = findMetadata([fs], path) && findMetadata(lower, path);
    if (metadata === undefined) return [];
    apply(at(fs, path), metadata);
    return [[path, metadata.status.mtime] as const];
  });
}

function apply(directory: Name, { status, attributes }: Metadata): void {
  changeOwner(directory, status);
  for (const [attribute, value] of attributes) setAttribute(directory, attribute, value);
  changeMode(directory, status.mode & 0o7777);
  setTime(directory, status.mtime);
}

/** The layers in which this name, of a file or a directory, can be seen: the first is the one that one sees. */
export function showingAt(layers: readonly string[], path: Segments): readonly string[] {
  let showing = layers;
  for (let depth = 1; depth < path.length && showing.length > 0; depth++) {
    showing = directoriesAt(showing, path.slice(0, depth));
  }
  const [highest, ...others] = showing.filter((layer) => findStatus(at(layer, path)) !== undefined);
  const status = highest === undefined ? undefined : findStatus(at(highest, path));
  if (highest === undefined || status === undefined || isWhiteout(status)) return [];
  return [highest, ...others];
}

/** Undefined unless each part of the path is a directory in what shows of the layers. */
function findMetadata(layers: readonly string[], path: Segments): Metadata | undefined {
  let showing = layers;
  for (let depth = 1; depth <= path.length && showing.length > 0; depth++) {
    showing = directoriesAt(showing, path.slice(0, depth));
  }
  const [highest] = showing;
  if (highest === undefined) return undefined;
  const directory = at(highest, path);
  const status = findStatus(directory);
  if (status === undefined) return undefined;
  const attributes = readAttributes(directory).filter(([name]) => !opaqueAttribute.equals(name));
  return { status, attributes };
}

/** The layers that have part of this directory: down to the first that hides those below it. */
function directoriesAt(layers: readonly string[], path: Segments): readonly string[] {
  const found: string[] = [];
  for (const layer of layers) {
    const directory = at(layer, path);
    const status = findStatus(directory);
    if (status === undefined) continue;
    if (!isDirectory(status)) break;
    found.push(layer);
    if (readAttributes(directory).some(([name]) => opaqueAttribute.equals(name))) break;
  }
  return found;
}

function at(layer: string, path: Segments): Name {
  return Buffer.concat([Buffer.from(layer), pathOf(path)]);
}
