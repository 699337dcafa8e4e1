import { invalidArgument } from "../lib/errors.ts";
import { asObject, asString, optional } from "../lib/json.ts";
import { type Descriptor, parseDescriptor } from "./descriptor.ts";
import { digestHex } from "./digest.ts";

/** A manifest that is no container image: a model, a chart, files (OCI image-spec, guidelines for artifact usage). */
export interface Artifact {
  /** What it says it is: its artifactType, or the media type of its config. */
  readonly type: string;
  /** As mounted; for each blob of the manifest's layers one. */
  readonly files: readonly ArtifactFile[];
}

/** `path` is where the blob is a file; undefined is an archive, which is unpacked as an image layer is. */
export type ArtifactFile = { readonly path: string } | { readonly path: undefined };

/** Stands for "nothing": two bytes that no file is made of. */
const emptyType = "application/vnd.oci.empty.v1+json";
/** The blob's name as ORAS, and as ModelPack's tools have it, old and new. */
const nameAnnotations = [
  "org.opencontainers.image.title",
  "org.cncf.model.filepath",
  "org.cnai.model.filepath",
] as const;
/** ORAS packs a directory so. */
const unpackAnnotation = "io.deis.oras.content.unpack";
/** ModelPack has the same file as `.raw` or packed in one of these. */
const modelArchive = /^application\/vnd\.(?:cncf|cnai)\.model\..*\.tar(?:[+.](?:gzip|zstd))?$/;

const maxPathBytes = 1024;
const maxNameBytes = 255;

/** Reads the layers of an artifact's manifest. A name that is no safe place below a directory is refused, as are two that collide. */
export function parseArtifact(
  document: Readonly<Record<string, unknown>>,
  configType: string,
  layers: readonly unknown[],
  what: string,
): { readonly artifact: Artifact; readonly blobs: readonly Descriptor[] } {
  const type = optional(document["artifactType"], `${what}.artifactType`, asString) || configType;
  const blobs: Descriptor[] = [];
  const files: ArtifactFile[] = [];
  for (const [i, layer] of layers.entries()) {
    const blob = parseDescriptor(layer, `${what}.layers[${i}]`);
    if (blob.mediaType === emptyType) continue;
    blobs.push(blob);
    files.push(parseFile(layer, blob, `${what}.layers[${i}]`));
  }
  checkCollisions(files, what);
  return { artifact: { type, files }, blobs };
}

function parseFile(layer: unknown, blob: Descriptor, what: string): ArtifactFile {
  const annotations = optional(asObject(layer, what)["annotations"], what, asObject) ?? {};
  if (annotations[unpackAnnotation] === "true" || modelArchive.test(blob.mediaType)) {
    return { path: undefined };
  }
  const [named] = nameAnnotations.filter((key) => annotations[key] !== undefined);
  if (named === undefined) return { path: `sha256-${digestHex(blob.digest)}` };
  const path = asString(annotations[named], `${what}.${named}`);
  if (isSafe(path)) return { path };
  throw invalidArgument(`${what}: ${JSON.stringify(path.slice(0, 200))} is no name for a file`);
}

/** Relative, down only, in characters that terminals and shells take as they are. A `.wh.` name would delete others in a layer. */
function isSafe(path: string): boolean {
  if (!path.isWellFormed() || Buffer.byteLength(path) > maxPathBytes) return false;
  return path.split("/").every((name) => {
    const isSpecial = name === "" || name === "." || name === ".." || name.startsWith(".wh.");
    return !isSpecial && Buffer.byteLength(name) <= maxNameBytes && !/\p{Cc}/u.test(name);
  });
}

function checkCollisions(files: readonly ArtifactFile[], what: string): void {
  const paths = new Set<string>();
  for (const { path } of files) {
    if (path === undefined) continue;
    if (paths.has(path)) throw invalidArgument(`${what}: two files ${JSON.stringify(path)}`);
    paths.add(path);
  }
  for (const path of paths) {
    const parent = parentsOf(path).find((directory) => paths.has(directory));
    if (parent === undefined) continue;
    throw invalidArgument(`${what}: ${JSON.stringify(parent)} is a file and a directory`);
  }
}

/** The directories that a file is in, outermost first. */
export function parentsOf(path: string): readonly string[] {
  const names = path.split("/");
  return names.slice(1).map((_, i) => names.slice(0, i + 1).join("/"));
}
