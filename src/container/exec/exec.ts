import type { Context } from "../../lib/context.ts";
import { failedPrecondition, kindOf } from "../../lib/errors.ts";
import type { ContainerId } from "../../lib/id.ts";
import type { SpecProcess } from "../../oci/runtime-spec.ts";
import type { WindowSize } from "../../os/terminal.ts";
import type { ExecCommand, ExecSession, ExecSyncResult, Task } from "../../runtime/runtime.ts";
import type { Container } from "../container.ts";
import type { ContainerDeps } from "../deps.ts";
import { getRuntime, streamOwnerOf, type TaskDeps, taskOf } from "../runtimes.ts";
import type { ContainerProcesses } from "./container-process.ts";

export interface ExecDeps extends TaskDeps, Pick<ContainerDeps, "containers"> {
  readonly processes: ContainerProcesses;
}

/**
 * Runs a command in a running container and returns what it wrote and its exit code (CRI ExecSync). It has the
 * user, environment, capabilities and filters of the container's own program. 0 is no time limit.
 */
export async function execInContainer(
  ctx: Context,
  deps: ExecDeps,
  id: ContainerId,
  { argv, timeoutMs }: { readonly argv: readonly string[]; readonly timeoutMs: number },
): Promise<ExecSyncResult> {
  return await whileRunning(deps, id, async (container, task) => {
    const command = await commandOf(deps, container, argv, false);
    return await task.execSync(ctx, { ...command, timeoutMs });
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

/** Starts a command in a running container, to talk to it (CRI Exec). The session is the caller's. */
export async function openExec(
  ctx: Context,
  deps: ExecDeps,
  id: ContainerId,
  { argv, size, terminal, ...streams }: ExecSessionOptions,
): Promise<ExecSession> {
  return await whileRunning(deps, id, async (container, task) => {
    const command = await commandOf(deps, container, argv, terminal, size);
    return await task.exec(ctx, { ...command, ...streams });
  });
}

async function commandOf(
  deps: ExecDeps,
  container: Container,
  argv: readonly string[],
  terminal: boolean,
  size?: WindowSize,
): Promise<ExecCommand> {
  getRuntime(deps.runtimes, container.handler);
  const process = await deps.processes.get(container);
  return {
    process: processWith(process, argv, terminal, size),
    owner: streamOwnerOf(container),
  };
}

/** Whatever could not be done in a container that ended meanwhile: that it ended is the reason. */
async function whileRunning<Result>(
  deps: ExecDeps,
  id: ContainerId,
  exec: (container: Container, task: Task) => Promise<Result>,
): Promise<Result> {
  const container = deps.containers.get(id);
  if (container.state.name !== "running") {
    throw failedPrecondition(`exec in container ${id}: it is ${container.state.name}, not running`);
  }
  const task = taskOf(deps, container);
  try {
    return await exec(container, task);
  } catch (cause) {
    if (kindOf(cause) !== "internal" || !task.isEnding()) throw cause;
    throw failedPrecondition(`exec in container ${id}: it ended meanwhile`, cause);
  }
}

/** The process of the container's spec, with another command. */
function processWith(
  process: SpecProcess,
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
