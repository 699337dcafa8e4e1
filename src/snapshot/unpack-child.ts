import type { Subprocess } from "bun";
import type { Context } from "../lib/context.ts";
import { AppError, type ErrorKind } from "../lib/errors.ts";
import { asObject, asString, parseJson } from "../lib/json.ts";
import { isErrno } from "../os/errno-error.ts";
import { childEnv, roleArgv } from "../os/role.ts";
import type { CompletionOrder } from "./complete-layer.ts";
import type { LayerReport } from "./layer-report.ts";

type Child = Subprocess<"pipe", "pipe", "pipe">;

const maxReportBytes = 32 << 20;
const maxStderrBytes = 4096;

/** The command line of `crib unpack` with these arguments. Tests that run from source have one of their own. */
export type UnpackArgv = (...args: readonly string[]) => readonly string[];

export const unpackArgv: UnpackArgv = (...args) => roleArgv("unpack", ...args);

/** Unpacks `source` into `directory`/fs in a child (unpack-role.ts). Whatever goes wrong, the child is gone afterwards. */
export async function applyInChild(
  ctx: Context,
  argv: UnpackArgv,
  directory: string,
  source: AsyncIterable<Uint8Array>,
): Promise<LayerReport> {
  const report = await runChild(ctx, argv("apply", directory), (child) => feed(child, source));
  // Our own program wrote it, from what it counted itself.
  return report as LayerReport;
}

export async function completeInChild(
  ctx: Context,
  argv: UnpackArgv,
  directory: string,
  order: CompletionOrder,
): Promise<void> {
  const bytes = Buffer.from(JSON.stringify(order));
  await runChild(ctx, argv("complete", directory), (child) => feed(child, [bytes]));
}

export async function syncInChild(
  ctx: Context,
  argv: UnpackArgv,
  directory: string,
): Promise<void> {
  await runChild(ctx, argv("sync", directory), (child) => feed(child, []));
}

async function runChild(
  ctx: Context,
  argv: readonly string[],
  feedChild: (child: Child) => Promise<void>,
): Promise<unknown> {
  ctx.signal.throwIfAborted();
  const child = Bun.spawn([...argv], {
    cwd: "/",
    env: { ...childEnv },
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
  });
  const kill = () => child.kill("SIGKILL");
  ctx.signal.addEventListener("abort", kill, { once: true });
  const output = Promise.all([
    collect(child.stdout, maxReportBytes),
    collect(child.stderr, maxStderrBytes),
  ]);
  try {
    await feedChild(child);
    const [stdout, stderr] = await output;
    await child.exited;
    ctx.signal.throwIfAborted();
    return readReport(child, stdout, stderr);
  } finally {
    kill();
    await child.exited;
    await output.catch(() => {});
    ctx.signal.removeEventListener("abort", kill);
  }
}

/** Stops as soon as the child has ended; why it did is in its report. */
async function feed(
  child: Child,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<void> {
  let hasEnded = false;
  const ended = child.exited.then(() => {
    hasEnded = true;
  });
  for await (const chunk of source) {
    if (hasEnded || !(await write(child, chunk, ended))) return;
  }
  if (!hasEnded) await Promise.race([child.stdin.end(), ended]);
}

/** False when the child does not listen any more. */
async function write(child: Child, chunk: Uint8Array, ended: Promise<void>): Promise<boolean> {
  try {
    child.stdin.write(chunk);
    await Promise.race([child.stdin.flush(), ended]);
    return true;
  } catch (err) {
    if (isErrno(err, "EPIPE")) return false;
    throw err;
  }
}

async function collect(stream: ReadableStream<Uint8Array>, limit: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.byteLength;
    if (size <= limit) chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function readReport(child: Child, stdout: Buffer, stderr: Buffer): unknown {
  if (child.signalCode !== null) {
    const kind = child.signalCode === "SIGKILL" ? "resource-exhausted" : "internal";
    throw new AppError(`unpacking was ended by ${child.signalCode}`, { kind });
  }
  if (child.exitCode === 0) return parseJson(stdout, "unpack report", { maxBytes: maxReportBytes });
  throw readFailure(stdout) ?? new AppError(`unpack: ${stderr.toString()}`, { kind: "internal" });
}

/** What the child said of its failure, if that is what it said. */
export function readFailure(stdout: Buffer): AppError | undefined {
  try {
    const failure = asObject(parseJson(stdout, "", { maxBytes: maxReportBytes }), "");
    const kind = asString(failure["kind"], "") as ErrorKind;
    return new AppError(`unpack: ${asString(failure["error"], "")}`, { kind });
  } catch {
    return undefined;
  }
}
