import { bundleOf } from "../../bundle/bundle.ts";
import { isFrozen } from "../../cgroup/frozen.ts";
import type { CgroupHost } from "../../cgroup/host.ts";
import type { Context } from "../../lib/context.ts";
import { failedPrecondition, kindOf } from "../../lib/errors.ts";
import type { ContainerId } from "../../lib/id.ts";
import { hostUser } from "../../oci/pod-ids.ts";
import type { SpecProcess } from "../../oci/runtime-spec.ts";
import { isEnding } from "../../os/process/process-stat.ts";
import type { WindowSize } from "../../os/terminal.ts";
import type { DirectExec, DirectExecRequest } from "../../runtime/oci/direct/direct-exec.ts";
import { type ExecSession, openExecSession } from "../../runtime/oci/exec/exec-session.ts";
import { type ExecSyncResult, execSync } from "../../runtime/oci/exec/exec-sync.ts";
import type { OutputPool } from "../../runtime/oci/exec/output-pool.ts";
import type { ExecRequest } from "../../runtime/oci/exec/start-exec.ts";
import type { Reaper } from "../../runtime/reaper.ts";
import { type Container, processOf } from "../container.ts";
import type { ContainerDeps } from "../deps.ts";
import { getHandler } from "../handlers.ts";
import type { ExecTemplate, ExecTemplates } from "./exec-template.ts";

export interface ExecDeps
  extends Pick<ContainerDeps, "cgroup" | "containers" | "handlers" | "stateDir"> {
  readonly reaper: Reaper;
  readonly execTemplates: ExecTemplates;
  readonly directExec: DirectExec | undefined;
  readonly execOutput: OutputPool;
}

/**
 * Runs a command in a running container and answers what it wrote and its exit code (CRI ExecSync). It has the
 * user, environment, capabilities and filters of the container's own program. 0 is no time limit.
 */
export async function execInContainer(
  ctx: Context,
  deps: ExecDeps,
  id: ContainerId,
  { argv, timeoutMs }: { readonly argv: readonly string[]; readonly timeoutMs: number },
): Promise<ExecSyncResult> {
  return await whileRunning(deps, id, async (container) => {
    const request = await requestOf(deps, container, argv, false);
    const runtime = { ...runtimeOf(deps, container), output: deps.execOutput };
    return await execSync(ctx, runtime, { ...request, timeoutMs });
  });
}

export interface ExecSessionOptions {
  readonly argv: readonly string[];
  readonly terminal: boolean;
  /** What the terminal has from the beginning; `undefined` where nobody knows. */
  readonly size: WindowSize | undefined;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

/** Starts a command in a running container, to talk to it (CRI Exec). */
export async function openExec(
  ctx: Context,
  deps: ExecDeps,
  id: ContainerId,
  { argv, size, ...streams }: ExecSessionOptions,
): Promise<ExecSession> {
  return await whileRunning(deps, id, async (container) => {
    const request = await requestOf(deps, container, argv, streams.terminal, size);
    return await openExecSession(ctx, runtimeOf(deps, container), {
      ...request,
      ...streams,
      socketDir: deps.stateDir,
    });
  });
}

function runtimeOf(deps: ExecDeps, container: Container) {
  const handler = getHandler(deps.handlers, container.handler);
  return { handler, reaper: deps.reaper, direct: deps.directExec };
}

async function requestOf(
  deps: ExecDeps,
  container: Container,
  argv: readonly string[],
  terminal: boolean,
  size?: WindowSize,
): Promise<ExecRequest> {
  const template = await deps.execTemplates.get(container);
  return {
    container: container.id,
    process: processWith(template, argv, terminal, size),
    direct: terminal ? undefined : directOf(deps.cgroup, container, template, argv),
    dir: bundleOf(deps.stateDir, container.id).dir,
    pipeOwner: hostOwner(container),
  };
}

/** `undefined` where it is the runtime's to run it, or to say why it cannot. */
function directOf(
  cgroup: CgroupHost,
  container: Container,
  { prepared }: ExecTemplate,
  args: readonly string[],
): DirectExecRequest | undefined {
  const init = processOf(container);
  if (prepared === undefined || init === undefined) return undefined;
  return isFrozen(cgroup, container.cgroupPath) ? undefined : { prepared, init, args };
}

/** The node's id of the container's user, in a pod with a user namespace. */
function hostOwner({ ids, user }: Container): ReturnType<typeof hostUser> | undefined {
  return ids === undefined ? undefined : hostUser(ids, user);
}

/** Whatever could not be done in a container that ended meanwhile: that it ended is the reason. */
async function whileRunning<Result>(
  deps: Pick<ContainerDeps, "containers">,
  id: ContainerId,
  exec: (container: Container) => Promise<Result>,
): Promise<Result> {
  const container = deps.containers.get(id);
  const { state, pidStartTime } = container;
  if (state.name !== "running") {
    throw failedPrecondition(`exec in container ${id}: it is ${state.name}, not running`);
  }
  try {
    return await exec(container);
  } catch (cause) {
    if (kindOf(cause) !== "internal" || !isEnding(state.pid, pidStartTime)) throw cause;
    throw failedPrecondition(`exec in container ${id}: it ended meanwhile`, cause);
  }
}

/** The process of the container's spec, with another command. */
function processWith(
  { process }: ExecTemplate,
  args: readonly string[],
  terminal: boolean,
  size: WindowSize | undefined,
): SpecProcess {
  const { env } = process;
  // The image was not made for a terminal: programs want to know what theirs can do.
  const needsTerm = terminal && !env.some((entry) => entry.startsWith("TERM="));
  return {
    ...process,
    args,
    terminal,
    ...(size !== undefined && { consoleSize: { height: size.rows, width: size.columns } }),
    env: needsTerm ? [...env, "TERM=xterm"] : env,
  };
}
