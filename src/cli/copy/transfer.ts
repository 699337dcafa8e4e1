import { closeSync, constants, openSync, readFileSync } from "node:fs";
import { AppError, failedPrecondition } from "../../lib/errors.ts";
import { asInteger, asObject, optional, parseJson } from "../../lib/json.ts";
import { openPipe } from "../../os/file/io.ts";
import { childEnv, roleArgv } from "../../os/process/role.ts";
import type { CriClient } from "../client.ts";
import type { CommandEnv } from "../command.ts";
import { getContainer } from "../find.ts";
import { plain } from "../output/output.ts";
import { type IdMaps, parseIdMap, type TransferOrder } from "./order.ts";
import type { Found } from "./plan.ts";

/** The files of one side: of the node, or of a container as its processes see them. Disposing lets them go. */
export interface Tree extends Disposable {
  /** Its root directory, open. */
  readonly fd: number;
  /** Of the user namespace that the files are in, where that is not the node's. */
  readonly ids: IdMaps | undefined;
}

export function openNode(directory = "/"): Tree {
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  return { fd, ids: undefined, [Symbol.dispose]: () => closeSync(fd) };
}

const maxInfoBytes = 1024 * 1024;

/** A running container's. Throws `failed-precondition` for another. */
export async function openContainer(
  cri: CriClient,
  key: string,
  signal: AbortSignal,
): Promise<Tree> {
  const { id } = await getContainer(cri, key, signal);
  const pid = await firstPidOf(cri, id, signal);
  if (pid === 0) {
    throw failedPrecondition(`container "${plain(key)}" does not run: its files are not mounted`);
  }
  const fd = openSync(`/proc/${pid}/root`, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const [uids, gids] = ["uid_map", "gid_map"].map((name) =>
      parseIdMap(readFileSync(`/proc/${pid}/${name}`, "latin1")),
    );
    // Its number is another process's only after its end, which is on record then.
    if ((await firstPidOf(cri, id, signal)) !== pid) {
      throw failedPrecondition(`container "${plain(key)}" has ended`);
    }
    const ids = uids === undefined || gids === undefined ? undefined : { uids, gids };
    return { fd, ids, [Symbol.dispose]: () => closeSync(fd) };
  } catch (err) {
    closeSync(fd);
    throw err;
  }
}

async function firstPidOf(cri: CriClient, id: string, signal: AbortSignal): Promise<number> {
  const response = await cri.runtime.containerStatus(
    { containerId: id, verbose: true },
    { signal },
  );
  const text = response.info["info"] ?? "{}";
  const info = asObject(parseJson(text, "info", { maxBytes: maxInfoBytes }), "info");
  return optional(info["pid"], "pid", asInteger) ?? 0;
}

type Stdio = number | "ignore" | "inherit" | "pipe";

function startTransfer(tree: Tree, order: TransferOrder, stdin: Stdio, stdout: Stdio) {
  return Bun.spawn([...roleArgv("transfer", JSON.stringify(order))], {
    cwd: "/",
    env: childEnv,
    stdio: [stdin, stdout, "pipe", tree.fd],
  });
}

/** Waits for its end, whatever the signal says after it was killed. Throws what it says went wrong. */
async function finish(
  env: CommandEnv,
  child: ReturnType<typeof startTransfer>,
  step: string,
): Promise<void> {
  const kill = () => child.kill("SIGKILL");
  env.ctx.signal.addEventListener("abort", kill, { once: true });
  if (env.ctx.signal.aborted) kill();
  const [said, code] = await Promise.all([
    new Response(child.stderr as ReadableStream).text(),
    child.exited,
  ]);
  env.ctx.signal.removeEventListener("abort", kill);
  env.ctx.signal.throwIfAborted();
  const lines = said.split("\n").filter((line) => line !== "");
  if (code !== 0)
    throw new AppError(`${step}: ${lines.at(-1) ?? "no reason given"}`, {
      kind: "failed-precondition",
    });
  for (const line of lines) env.out.writeError(`crib: ${plain(line)}\n`);
}

export async function lookAt(
  env: CommandEnv,
  tree: Tree,
  path: string,
  follow: boolean,
): Promise<Found> {
  const child = startTransfer(tree, { op: "stat", path, follow }, "ignore", "pipe");
  const [text] = await Promise.all([
    new Response(child.stdout as ReadableStream).text(),
    finish(env, child, `look at ${path}`),
  ]);
  return JSON.parse(text) as Found;
}

export interface PackRequest {
  readonly tree: Tree;
  readonly path: string;
  readonly name: string;
  readonly follow: boolean;
}

export interface UnpackRequest {
  readonly tree: Tree;
  readonly directory: string;
  readonly keepsOwners: boolean;
}

/** From files to files, or from or to this process's own stdin or stdout. */
export async function transfer(
  env: CommandEnv,
  from: PackRequest | "stdin",
  to: UnpackRequest | "stdout",
): Promise<void> {
  using ours = new DisposableStack();
  const pipe = from === "stdin" || to === "stdout" ? undefined : openPipe();
  for (const end of pipe === undefined ? [] : [pipe.readEnd, pipe.writeEnd]) ours.use(end);
  const ends: Promise<void>[] = [];
  if (from !== "stdin") {
    const { tree, ...order } = from;
    const stdout = pipe?.writeEnd.fd ?? "inherit";
    const child = startTransfer(tree, { op: "pack", ids: tree.ids, ...order }, "ignore", stdout);
    ends.push(finish(env, child, "copy from"));
  }
  if (to !== "stdout") {
    const { tree, ...order } = to;
    const stdin = pipe?.readEnd.fd ?? "inherit";
    const child = startTransfer(tree, { op: "unpack", ids: tree.ids, ...order }, stdin, "ignore");
    ends.push(finish(env, child, "copy to"));
  }
  // Only the children have them now: each sees the other's end.
  ours.dispose();
  // What cannot be written is the reason why nothing is read any more.
  const results = await Promise.allSettled(ends);
  const failed = results.findLast((result) => result.status === "rejected");
  if (failed?.status === "rejected") throw failed.reason;
}
