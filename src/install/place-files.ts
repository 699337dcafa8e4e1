import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
} from "node:fs";
import { dirname } from "node:path";
import { writeFileAtomically } from "../lib/atomic-file.ts";
import { asObject, asString, parseJson } from "../lib/json.ts";
import { nodePaths } from "../lib/node-paths.ts";
import { type NodeFile, paths } from "./node-files.ts";

/** What happened, or would happen, to a file. `beside`: somebody has changed it; the new one is PATH.crib-new. */
export type Placement = "new" | "same" | "changed" | "kept" | "beside";

/** Digests of what was installed, by path. */
export type InstallRecord = Readonly<Record<string, string>>;

const maxFileBytes = 1 << 20;

/** Reads what an earlier install has put on the node below `root`; nothing when there was none, or it cannot be read. */
export function readRecord(root: string): InstallRecord {
  try {
    const text = readFileSync(`${root}${paths.record}`);
    const files = asObject(parseJson(text, paths.record, { maxBytes: maxFileBytes }), "record");
    return Object.fromEntries(
      Object.entries(files).map(([path, digest]) => [path, asString(digest, path)]),
    );
  } catch {
    return {};
  }
}

/** What writing the file would do. */
export function placementOf(root: string, file: NodeFile, record: InstallRecord): Placement {
  const path = `${root}${file.path}`;
  if (!existsSync(path)) return "new";
  const there = lstatSync(path).isFile() ? readFileSync(path) : undefined;
  if (there?.equals(Buffer.from(file.content))) return "same";
  if (file.isOperators) return "kept";
  if (file.isOthers) return "changed";
  return there !== undefined && record[file.path] === digestOf(there) ? "changed" : "beside";
}

/** Writes the files that are not there or are an earlier install's; each is whole on the disk or not there at all. */
export function placeFiles(
  root: string,
  files: readonly NodeFile[],
): readonly { readonly file: NodeFile; readonly placement: Placement }[] {
  const record = readRecord(root);
  const placed = files.map((file) => {
    const placement = placementOf(root, file, record);
    if (file.isOthers && placement === "changed") keepOriginal(root, file);
    if (placement === "new" || placement === "changed") write(root, file.path, file);
    if (placement === "beside") write(root, `${file.path}.crib-new`, file);
    return { file, placement };
  });
  const ours = placed.filter(
    ({ file, placement }) => placement !== "kept" && placement !== "beside" && !file.isOthers,
  );
  const digests = ours.map(({ file }) => [file.path, digestOf(Buffer.from(file.content))]);
  const text = `${JSON.stringify({ ...record, ...Object.fromEntries(digests) }, null, 2)}\n`;
  const recordFile = { path: paths.record, content: text, mode: 0o644, purpose: "" };
  if (placementOf(root, recordFile, {}) !== "same") write(root, paths.record, recordFile);
  return placed;
}

/** Removes what was installed. Files that somebody has changed since are left, unless `all`; they are returned. */
export function removeFiles(root: string, options: { readonly all: boolean }): readonly string[] {
  const left: string[] = [];
  for (const [path, digest] of Object.entries(readRecord(root))) {
    const there = `${root}${path}`;
    rmSync(`${there}.crib-new`, { force: true });
    if (!existsSync(there)) continue;
    if (options.all || digestOf(readFileSync(there)) === digest) rmSync(there);
    else left.push(path);
  }
  rmSync(`${root}${paths.record}`, { force: true });
  for (const directory of [`${nodePaths.config}.d`, dirname(paths.record)]) {
    const path = `${root}${directory}`;
    if (existsSync(path) && readdirSync(path).length === 0) rmdirSync(path);
  }
  return left;
}

/** As it was before the first change. */
function keepOriginal(root: string, { path, mode }: NodeFile): void {
  const original = `${path}.before-crib`;
  if (existsSync(`${root}${original}`)) return;
  write(root, original, { content: readFileSync(`${root}${path}`, "utf8"), mode });
}

function write(
  root: string,
  path: string,
  { content, mode }: Pick<NodeFile, "content" | "mode">,
): void {
  mkdirSync(dirname(`${root}${path}`), { recursive: true });
  writeFileAtomically(`${root}${path}`, content, { mode });
  // Whatever the umask.
  chmodSync(`${root}${path}`, mode);
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
}
