import { readFile } from "node:fs/promises";
import { type Bundle, bundleOf } from "../bundle/bundle.ts";
import type { Context } from "../lib/context.ts";
import { failedPrecondition } from "../lib/errors.ts";
import type { ContainerId } from "../lib/id.ts";
import { hostUser } from "../oci/pod-ids.ts";
import type { RuntimeSpec, SpecProcess } from "../oci/runtime-spec.ts";
import { type ExecSession, openExecSession } from "../runtime/exec-session.ts";
import { type ExecSyncResult, execSync } from "../runtime/exec-sync.ts";
import type { Reaper } from "../runtime/reaper.ts";
import type { Container } from "./container.ts";
import type { ContainerDeps } from "./deps.ts";
import { getHandler } from "./handlers.ts";

export interface ExecDeps extends Pick<ContainerDeps, "containers" | "handlers" | "stateDir"> {
  readonly reaper: Reaper;
}

/**
 * Runs a command in a running container and answers what it wrote and its exit code (CRI ExecSync). It has the
 * user, environment, capabilities and filters of the container's own program. 0 is no time limit.
 */
export async function execInContainer(
  ctx: Context,
  deps: ExecDeps,
  id: ContainerId,
  options: { readonly argv: readonly string[]; readonly timeoutMs: number },
): Promise<ExecSyncResult> {
  const container = getRunning(deps, id, "exec in");
  const bundle = bundleOf(deps.stateDir, id);
  const handler = getHandler(deps.handlers, container.handler);
  return await execSync(
    ctx,
    { handler, reaper: deps.reaper },
    {
      container: id,
      process: await processOf(bundle, options.argv, false),
      timeoutMs: options.timeoutMs,
      dir: bundle.dir,
      pipeOwner: hostOwner(container),
    },
  );
}

export interface ExecSessionOptions {
  readonly argv: readonly string[];
  readonly terminal: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

/** Starts a command in a running container, to talk to it (CRI Exec). */
export async function openExec(
  ctx: Context,
  deps: ExecDeps,
  id: ContainerId,
  { argv, ...streams }: ExecSessionOptions,
): Promise<ExecSession> {
  const container = getRunning(deps, id, "exec in");
  const bundle = bundleOf(deps.stateDir, id);
  const handler = getHandler(deps.handlers, container.handler);
  return await openExecSession(
    ctx,
    { handler, reaper: deps.reaper },
    {
      ...streams,
      container: id,
      process: await processOf(bundle, argv, streams.terminal),
      dir: bundle.dir,
      pipeOwner: hostOwner(container),
      socketDir: deps.stateDir,
    },
  );
}

/** The node's id of the container's user, in a pod with a user namespace. */
function hostOwner({ ids, user }: Container): ReturnType<typeof hostUser> | undefined {
  return ids === undefined ? undefined : hostUser(ids, user);
}

/** `step` is for the error: what needs the container to run. */
function getRunning(
  deps: Pick<ContainerDeps, "containers">,
  id: ContainerId,
  step: string,
): Container {
  const container = deps.containers.get(id);
  if (container.state.name === "running") return container;
  throw failedPrecondition(`${step} container ${id}: it is ${container.state.name}, not running`);
}

/** The process of the bundle's spec, with another command. We wrote that file: it is what it was. */
async function processOf(
  bundle: Bundle,
  args: readonly string[],
  terminal: boolean,
): Promise<SpecProcess> {
  const spec = JSON.parse(await readFile(bundle.config, "utf8")) as RuntimeSpec;
  const { env } = spec.process;
  // The image was not made for a terminal: programs want to know what theirs can do.
  const needsTerm = terminal && !env.some((entry) => entry.startsWith("TERM="));
  return { ...spec.process, args, terminal, env: needsTerm ? [...env, "TERM=xterm"] : env };
}
