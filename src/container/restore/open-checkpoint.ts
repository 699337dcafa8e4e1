import {
  constants,
  createReadStream,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
} from "node:fs";
import type { Image } from "../../image/image.ts";
import type { Context } from "../../lib/context.ts";
import {
  AppError,
  failedPrecondition,
  invalidArgument,
  kindOf,
  notFound,
} from "../../lib/errors.ts";
import type { ContainerId } from "../../lib/id.ts";
import { asObject, asString, type JsonObject, optional, parseJson } from "../../lib/json.ts";
import type { RuntimeSpec } from "../../oci/runtime-spec.ts";
import { isErrno } from "../../os/errno-error.ts";
import { openPath, RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS } from "../../os/file/openat2.ts";
import { OwnedFd } from "../../os/file/owned-fd.ts";
import type { CheckpointedStdio, RestoreSource, Restoring } from "../../runtime/runtime.ts";
import type { ContainerDeps } from "../deps.ts";
import { checkpointDirectory, removeCheckpoint } from "./checkpoint-files.ts";
import { readCheckpointState } from "./checkpoint-state.ts";
import { judgeCheckpoint, judgeOpenFiles } from "./judge.ts";
import { archiveFiles, readArchive } from "./read-archive.ts";
import { judgeTmpfs } from "./tmpfs-content.ts";

/** A checkpoint whose files are unpacked, and what it says of itself: nothing of that is trusted. */
export interface OpenedCheckpoint {
  readonly image: Image;
  /** An archive of what the container had changed of its file system, where it is there. */
  readonly changes: AsyncIterable<Uint8Array> | undefined;
  readonly source: RestoreSource;
  readonly dumped: JsonObject;
}

/** What reading a checkpoint archive needs. */
export type RestoreDeps = Pick<ContainerDeps, "checkpointDir" | "restorePolicy" | "images">;

const maxDocumentBytes = 16 << 20;
const byDigest = /^(?:[^\s@]+@)?sha256:[0-9a-f]{64}$/;
const O_PATH = 0x20_0000;
const O_CLOEXEC = 0x8_0000;

/**
 * Unpacks the checkpoint archive at `path` for a container that is to be created; `removeCheckpoint` removes the files.
 * Throws `failed-precondition` where the configuration does not let it, `not-found` without its base image.
 */
export async function openCheckpoint(
  ctx: Context,
  deps: RestoreDeps,
  id: ContainerId,
  path: string,
): Promise<OpenedCheckpoint> {
  const { directories, maxBytes } = deps.restorePolicy;
  if (directories.length === 0) {
    throw failedPrecondition(
      `image ${quoted(path)}: restoring checkpoints is off (checkpoint.restore_from in the configuration)`,
    );
  }
  using archive = openArchive(directories, path);
  const dir = checkpointDirectory(deps, id);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  try {
    await readArchive(ctx, readOnce(archive), dir, { maxBytes });
    return describeCheckpoint(deps, dir);
  } catch (cause) {
    removeCheckpoint(deps, id);
    throw new AppError(`checkpoint ${quoted(path)}`, { kind: kindOf(cause), cause });
  }
}

/**
 * Throws `failed-precondition` with the reason where the checkpoint is not one of the container that the request makes.
 * `restoring` is the runtime's.
 */
export async function requireMatch(
  ctx: Context,
  { dumped, source }: OpenedCheckpoint,
  spec: RuntimeSpec,
  { restoring, maxBytes }: { readonly restoring: Restoring; readonly maxBytes: number },
): Promise<void> {
  compareProcess(dumped, spec);
  const { seccomp, devices } = spec.linux;
  const filter = seccomp === undefined ? undefined : restoring.filterOf(seccomp);
  const state = readCheckpointState(source.imageDir);
  judgeCheckpoint({ spec, filter }, state);
  const links = new Set<string>();
  for (const name of readdirSync(source.imageDir)) {
    if (!name.endsWith(".tar.gz.img")) continue;
    await judgeTmpfs(ctx, `${source.imageDir}/${name}`, { devices, maxBytes, links });
  }
  judgeOpenFiles(spec, state, links);
}

/** A regular file below one of the directories; no link is followed from there on. */
function openArchive(directories: readonly string[], path: string): OwnedFd {
  const directory = directories.find((one) => path.startsWith(`${one.replace(/\/+$/, "")}/`));
  if (directory === undefined || path.split("/").includes("..")) {
    throw failedPrecondition(
      `image ${quoted(path)}: checkpoints are restored from ${directories.join(", ")} only`,
    );
  }
  const below = path.slice(directory.replace(/\/+$/, "").length + 1);
  try {
    const flags = O_PATH | O_CLOEXEC | constants.O_DIRECTORY;
    using root = new OwnedFd(openSync(directory, flags));
    using found = openPath(root.fd, below, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    if (!fstatSync(found.fd).isFile()) throw invalidArgument(`image ${quoted(path)}: not a file`);
    return new OwnedFd(openSync(`/proc/self/fd/${found.fd}`, constants.O_RDONLY | O_CLOEXEC));
  } catch (err) {
    if (isErrno(err, "ENOENT") || isErrno(err, "ENOTDIR")) {
      throw notFound(`image ${quoted(path)} not found`);
    }
    if (isErrno(err, "ELOOP"))
      throw invalidArgument(`image ${quoted(path)}: by way of a link`, err);
    throw err;
  }
}

async function* readOnce({ fd }: OwnedFd): AsyncGenerator<Uint8Array> {
  yield* createReadStream("", { fd, autoClose: false, highWaterMark: 1 << 20 });
}

/** The base image is named by its digest, and is on the node: nothing is pulled because an archive says so. */
function describeCheckpoint(deps: RestoreDeps, dir: string): OpenedCheckpoint {
  const config = readDocument(`${dir}/${archiveFiles.config}`, archiveFiles.config);
  const dumped = readDocument(`${dir}/${archiveFiles.spec}`, archiveFiles.spec);
  const name = asString(config["rootfsImageRef"], "config.dump: rootfsImageRef");
  if (!byDigest.test(name)) throw invalidArgument("config.dump: rootfsImageRef names no digest");
  const image = deps.images.find(name);
  if (image === undefined || image.artifactType !== undefined) {
    throw notFound(`its image ${quoted(name)} is not on this node: pull it first`);
  }
  const stdio = optional(config["stdio"], "config.dump: stdio", readStdio) ?? {};
  const changes = `${dir}/${archiveFiles.changes}`;
  const hasChanges = existsSync(changes);
  return {
    image,
    changes: hasChanges ? createReadStream(changes, { highWaterMark: 1 << 20 }) : undefined,
    source: { imageDir: `${dir}/${archiveFiles.images}`, workDir: dir, stdio },
    dumped,
  };
}

function readDocument(path: string, what: string): JsonObject {
  return asObject(parseJson(readFileSync(path), what, { maxBytes: maxDocumentBytes }), what);
}

function readStdio(value: unknown, what: string): CheckpointedStdio {
  const object = asObject(value, what);
  const name = (key: string) => {
    const text = optional(object[key], `${what}.${key}`, asString);
    if (text === undefined) return {};
    if (!/^file\[[0-9a-f]{1,16}:[0-9a-f]{1,16}\]$/.test(text))
      throw invalidArgument(`${what}.${key}`);
    return { [key]: text };
  };
  return { ...name("stdin"), ...name("stdout"), ...name("stderr") };
}

/** What the archive says of its process. It may lie: what it is in truth is judged by CRIU's images. */
function compareProcess(dumped: JsonObject, { process }: RuntimeSpec): void {
  const said = asObject(dumped["process"], "spec.dump: process");
  const user = asObject(said["user"] ?? {}, "spec.dump: process.user");
  const pairs: readonly (readonly [what: string, theirs: unknown, ours: unknown])[] = [
    ["args", said["args"], process.args],
    ["cwd", said["cwd"], process.cwd],
    ["terminal", said["terminal"] ?? false, process.terminal],
    ["user", user["uid"] ?? 0, process.user.uid],
    ["group", user["gid"] ?? 0, process.user.gid],
  ];
  for (const [what, theirs, ours] of pairs) {
    if (JSON.stringify(theirs) === JSON.stringify(ours)) continue;
    const shown = (value: unknown) => JSON.stringify(value)?.slice(0, 200);
    throw failedPrecondition(
      `checkpoint does not match the request: its ${what} is ${shown(theirs)}, the request has ${shown(ours)}`,
    );
  }
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 300));
}
