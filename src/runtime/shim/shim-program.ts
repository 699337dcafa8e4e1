import { readlinkSync } from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Any, AnySchema, type Timestamp } from "@bufbuild/protobuf/wkt";
import { DeleteResponseSchema } from "../../gen/runtime/task/v3/shim_pb.ts";
import { RuntimeInfoSchema } from "../../gen/types/introspection_pb.ts";
import type { Context } from "../../lib/context.ts";
import { AppError, describe } from "../../lib/errors.ts";
import { type CommandResult, runCommand } from "../../os/process/command.ts";
import { findProcess, signalUnlessEnded } from "../../os/process/pidfd.ts";
import { argumentsOf, processIds } from "../../os/process/process-stat.ts";
import { encodeBootstrap, parseBootstrap, type ShimAddress } from "./bootstrap.ts";

/** One shim program, and what it gets to know of its caller. */
export interface ShimProgram {
  /** Absolute. */
  readonly path: string;
  /** As it is named in errors. */
  readonly name: string;
  /** Directories in which it finds what it runs (runc, runsc). */
  readonly searchPath: string;
  readonly namespace: string;
  /**
   * What shims take for containerd's address. They make the names of their sockets of it, in a directory that all
   * runtimes of a node share: it has to be this daemon's alone.
   */
  readonly address: string;
  /** Where they send events. */
  readonly ttrpcAddress: string;
  /** Where their sockets should be; a fixed directory of theirs otherwise. */
  readonly socketDir: string | undefined;
  /** This program. */
  readonly binary: string;
  readonly options: Any | undefined;
  /** For `start` and `delete` each. */
  readonly commandMs: number;
}

/** Of what a command prints: nothing that it has to say takes more. */
const maxOutputBytes = 1 << 20;
const infoMs = 10_000;
const SIGKILL = 9;
const endMs = 5000;

/**
 * Runs `start` in a bundle: it prints where the shim of this task listens, which is a new one or the pod's
 * (containerd, core/runtime/v2/README.md). The caller ends what is left of a start that failed (`endShim`).
 */
export async function startShim(
  ctx: Context,
  program: ShimProgram,
  task: { readonly id: string; readonly bundleDir: string },
): Promise<ShimAddress> {
  const { id, bundleDir } = task;
  const { stdout } = await run(ctx, program, "start", id, [], {
    cwd: bundleDir,
    stdin: encodeBootstrap({ ...program, id }),
  });
  try {
    return parseBootstrap(stdout);
  } catch (cause) {
    throw failure(program, "start", describe(cause), cause);
  }
}

export interface DeletedShim {
  readonly exitCode: number;
  readonly finishedAtNs: bigint | undefined;
}

/** Runs `delete` in the bundle of a task whose shim has died: it kills what is left of the task. */
export async function deleteDeadShim(
  ctx: Context,
  program: ShimProgram,
  task: { readonly id: string; readonly bundleDir: string },
): Promise<DeletedShim> {
  const { id, bundleDir } = task;
  const args = ["-bundle", bundleDir];
  const { stdout } = await run(ctx, program, "delete", id, args, { cwd: bundleDir });
  try {
    const { exitStatus, exitedAt } = fromBinary(DeleteResponseSchema, stdout);
    return { exitCode: exitStatus, finishedAtNs: exitedAt && toNs(exitedAt) };
  } catch (cause) {
    throw failure(program, "delete", "what it printed is no response", cause);
  }
}

/** What the runtime behind the shim can do, as JSON (runtime-spec, features.md); `undefined` where it does not say. */
export async function readShimFeatures(
  ctx: Context,
  program: ShimProgram,
): Promise<Uint8Array | undefined> {
  const { path, options } = program;
  const result = await runCommand(ctx, [path, "-info"], {
    env: environmentOf(program),
    stdin: options === undefined ? "" : toBinary(AnySchema, create(AnySchema, options)),
    timeoutMs: infoMs,
    maxOutputBytes,
  });
  if (result.exitCode !== 0) return undefined; // older than containerd 2.0
  try {
    return fromBinary(RuntimeInfoSchema, result.stdout).features?.value;
  } catch {
    return undefined;
  }
}

/**
 * Kills whatever a shim has left in a task's bundle: a server that was forked by a `start` that hangs or says nonsense,
 * or that does not leave. It is known by its directory and by the id among its arguments.
 */
export async function endShim(task: {
  readonly id: string;
  readonly bundleDir: string;
}): Promise<void> {
  const deadline = performance.now() + endMs;
  for (;;) {
    const found = processIds().filter((pid) => isShimOf(pid, task));
    if (found.length === 0) return;
    if (performance.now() > deadline) {
      throw new AppError(`the shim of ${task.id} outlives SIGKILL`, { kind: "deadline-exceeded" });
    }
    for (const pid of found) {
      using held = findProcess(pid);
      if (held !== undefined && isShimOf(pid, task)) signalUnlessEnded(held.fd, SIGKILL);
    }
    await Bun.sleep(5);
  }
}

function isShimOf(pid: number, { id, bundleDir }: { id: string; bundleDir: string }): boolean {
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === bundleDir && argumentsOf(pid).includes(id);
  } catch {
    return false; // it has ended
  }
}

async function run(
  ctx: Context,
  program: ShimProgram,
  action: "start" | "delete",
  id: string,
  args: readonly string[],
  options: { readonly cwd: string; readonly stdin?: Uint8Array },
): Promise<CommandResult> {
  const argv = [
    ...[program.path, "-namespace", program.namespace, "-address", program.address],
    ...["-publish-binary", program.binary, "-id", id, ...args, action],
  ];
  let result: CommandResult;
  try {
    result = await runCommand(ctx, argv, {
      env: environmentOf(program),
      timeoutMs: program.commandMs,
      maxOutputBytes,
      ...options,
    });
  } catch (cause) {
    throw new AppError(`${program.name} ${action}`, { kind: kindOfRun(cause), cause });
  }
  if (result.exitCode === 0) return result;
  const text = `${result.stdout.toString("utf8")} ${result.stderr}`.trim();
  throw failure(program, action, text === "" ? `exit code ${result.exitCode}` : lastPart(text));
}

function kindOfRun(cause: unknown) {
  return cause instanceof AppError ? cause.kind : "internal";
}

const maxReason = 1000;

function lastPart(text: string): string {
  return text.slice(-maxReason);
}

function failure({ name }: ShimProgram, action: string, reason: string, cause?: unknown): AppError {
  return new AppError(`${name} ${action}: ${reason}`, {
    kind: "internal",
    ...(cause === undefined ? {} : { cause }),
  });
}

function environmentOf(program: ShimProgram): Readonly<Record<string, string>> {
  return {
    PATH: program.searchPath,
    LANG: "C.UTF-8",
    GOMAXPROCS: "2",
    MAX_SHIM_VERSION: "2",
    TTRPC_ADDRESS: program.ttrpcAddress,
    GRPC_ADDRESS: program.address,
    NAMESPACE: program.namespace,
  };
}

/** Of a timestamp that may be Go's zero time, which means that nobody knows. */
export function toNs(timestamp: Timestamp): bigint | undefined {
  return timestamp.seconds <= 0n
    ? undefined
    : timestamp.seconds * 1_000_000_000n + BigInt(timestamp.nanos);
}
