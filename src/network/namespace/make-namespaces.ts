import type { Context } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";
import type { IdRange, PodIds } from "../../oci/pod-ids.ts";
import { ErrnoError, isErrno } from "../../os/errno-error.ts";
import { CommandError, type OwnProgram } from "../../os/process/command.ts";
import { childEnv } from "../../os/process/role.ts";
import { CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWUTS } from "../../os/security/namespaces.ts";
import { defaultNetSysctls, type NamespaceKind, parseSysctls, type Sysctl } from "./sysctl.ts";

/** What is to be made; all of it checked before. Sysctls of interfaces are for `writeInNetns`. */
export interface NewNamespaces {
  readonly kinds: readonly NamespaceKind[];
  readonly hostname: string | undefined;
  readonly sysctls: readonly Sysctl[];
  /** Of a new user namespace that the others belong to. */
  readonly ids: PodIds | undefined;
  /** Files onto which they are pinned. */
  readonly pins: readonly { readonly kind: NamespaceKind | "user"; readonly path: string }[];
}

/** A step of embed/pause/namespaces.c, which says what its words mean, and what it is that failed. */
interface Step {
  readonly words: readonly string[];
  readonly failure: (cause: ErrnoError) => AppError;
}

const timeoutMs = 20_000;
const cloneFlags = {
  net: CLONE_NEWNET,
  ipc: CLONE_NEWIPC,
  uts: CLONE_NEWUTS,
} as const satisfies Record<NamespaceKind, number>;

/**
 * Runs the static program `namespaces`, because unshare(2) changes who calls it: for the thread that would be, and the
 * kernel refuses a new user namespace to a process with threads.
 */
export async function makeNamespaces(
  ctx: Context,
  program: OwnProgram,
  namespaces: NewNamespaces,
): Promise<void> {
  await runSteps(ctx, program, stepsOf(namespaces));
}

/** Sets sysctls in the network namespace that is pinned at a path. */
export async function writeInNetns(
  ctx: Context,
  program: OwnProgram,
  netnsPath: string,
  sysctls: readonly Sysctl[],
): Promise<void> {
  await runSteps(ctx, program, [step("enter", netnsPath), ...sysctls.map(write)]);
}

async function runSteps(
  ctx: Context,
  { path, run }: OwnProgram,
  steps: readonly Step[],
): Promise<void> {
  const argv = [path, ...steps.flatMap(({ words }) => words)];
  const result = await run(ctx, argv, { env: childEnv, timeoutMs });
  if (result.exitCode === 0) return;
  throw (
    stepFailure(steps, result.stdout.toString()) ??
    new CommandError(argv, result.exitCode, result.stderr)
  );
}

function stepsOf({ kinds, hostname, sysctls, ids, pins }: NewNamespaces): readonly Step[] {
  const flags = String(kinds.reduce((all, kind) => all | cloneFlags[kind], 0));
  const root = String(ids?.uids.hostId ?? 0);
  const network = kinds.includes("net") ? parseSysctls(defaultNetSysctls, ["net"]) : [];
  return [
    ids === undefined
      ? step("unshare", flags)
      : {
          words: ["user", flags, mapLine(ids.uids), mapLine(ids.gids)],
          failure: noUserNamespace,
        },
    ...(kinds.includes("net") ? [step("up")] : []),
    ...network.map(({ path, value }) => step("offer", `/proc/sys/${path}`, value)),
    ...(kinds.includes("uts") && hostname ? [step("hostname", hostname)] : []),
    // Those of an IPC namespace can be written by its root alone, whatever capabilities anybody else has.
    ...sysctls.flatMap((sysctl) =>
      sysctl.kind === "ipc" && ids !== undefined
        ? [step("as", root), write(sysctl), step("as", "0")]
        : [write(sysctl)],
    ),
    ...pins.map(({ kind, path }) => step("pin", `ns/${kind}`, path)),
  ];
}

function step(...words: readonly string[]): Step {
  const failure = (cause: ErrnoError) =>
    new AppError(`make namespaces: ${words.join(" ")}`, { kind: "internal", cause });
  return { words, failure };
}

function write({ key, path, value, ofInterface }: Sysctl): Step {
  const failure = (cause: ErrnoError) => {
    const missing = ofInterface ? "no such interface or sysctl" : "this kernel has no such sysctl";
    const what = isErrno(cause, "ENOENT") ? missing : "set it";
    return new AppError(`sysctl ${key}: ${what}`, { kind: "invalid-argument", cause });
  };
  return { words: ["write", `/proc/sys/${path}`, value], failure };
}

/** ENOSPC and EUSERS: user.max_user_namespaces; EPERM: some other rule of the node. */
function noUserNamespace(cause: ErrnoError): AppError {
  return new AppError("make a user namespace", { kind: "failed-precondition", cause });
}

function mapLine({ hostId, length }: IdRange): string {
  return `0 ${hostId} ${length}\n`;
}

/** The result is how many words came before the step, and its errno. */
function stepFailure(steps: readonly Step[], response: string): AppError | undefined {
  const [, before, code] = /^(\d+) (\d+)$/.exec(response) ?? [];
  let count = 0;
  for (const { words, failure } of steps) {
    if (count === Number(before)) return failure(new ErrnoError(words[0] ?? "", Number(code)));
    count += words.length;
  }
  return undefined;
}
