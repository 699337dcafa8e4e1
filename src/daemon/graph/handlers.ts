import type { AnnotationPatterns } from "../../container/spec/annotations.ts";
import type { Context } from "../../lib/context.ts";
import { describe, invalidArgument } from "../../lib/errors.ts";
import { absentProgram } from "../../runtime/oci/absent-program.ts";
import type { OciNode } from "../../runtime/oci/node.ts";
import { openOciCommand } from "../../runtime/oci/oci-command.ts";
import { OciRuntime } from "../../runtime/oci/oci-runtime.ts";
import type { OciProgram } from "../../runtime/oci/program.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type * as shim from "../../runtime/shim/open-shim.ts";
import type { Config } from "../config/config.ts";

/** Where the programs of the embedded handlers are in the payload. */
const embedded: Readonly<Record<string, string>> = { runc: "runc", crun: "crun/crun" };

/**
 * The programs of the configured runtime handlers, by name. One that does not work is left out and logged, so that one bad
 * entry costs only its own pods; the default one must work.
 */
export async function openPrograms(
  ctx: Context,
  config: Config,
  systemdCgroup: boolean,
): Promise<ReadonlyMap<string, OciProgram>> {
  const { defaultHandler, handlers: settings } = config.runtime;
  const programs = new Map<string, OciProgram>();
  const open = async (name: string, path: string, args: readonly string[]) => {
    try {
      return await openOciCommand(ctx, {
        name,
        path: path === "" ? embeddedPath(config.payload, name) : path,
        root: `${config.state}/runtime/${name}`,
        systemdCgroup,
        withoutUnifiedPath: `${config.payload}/without-unified`,
        args,
        isEmbeddedRunc: name === "runc" && path === "" && args.length === 0,
      });
    } catch (err) {
      if (name === defaultHandler) throw new Error(`runtime handler ${name}`, { cause: err });
      ctx.log.warn("runtime handler skipped", { handler: name, err: describe(err) });
      return undefined;
    }
  };
  // At once: one that hangs costs its own time limit, not also that of others.
  const opened = Object.entries(settings)
    .filter(([, { type }]) => type === "oci")
    .map(async ([name, { path, args }]) => [name, await open(name, path, args)] as const);
  for (const [name, program] of await Promise.all(opened)) {
    if (program !== undefined) programs.set(name, program);
  }
  return programs;
}

/** The handlers of a configuration that differ from another's, by name, of type "oci". */
function changedHandlers(now: Config["runtime"], next: Config["runtime"]): readonly string[] {
  const text = (settings: Config["runtime"], name: string) => {
    const entry = settings.handlers[name];
    return JSON.stringify(entry && [entry.type, entry.path, entry.args]);
  };
  return Object.entries(next.handlers)
    .filter(([name, { type }]) => type === "oci" && now.handlers[name]?.type !== "shim")
    .map(([name]) => name)
    .filter((name) => text(now, name) !== text(next, name));
}

/** Why a handler's change takes effect with a restart only: what a shim runs is in its hands. */
export function handlersThatNeedRestart(
  now: Config["runtime"],
  next: Config["runtime"],
): readonly string[] {
  const names = new Set([...Object.keys(now.handlers), ...Object.keys(next.handlers)]);
  return [...names].filter((name) => {
    const [before, after] = [now.handlers[name], next.handlers[name]];
    const isShim = before?.type === "shim" || after?.type === "shim";
    return isShim && JSON.stringify(before) !== JSON.stringify(after);
  });
}

/**
 * Opens the handlers of `next` that are new or changed, and returns what puts them in force: containers whose handler has
 * gone can still be stopped and removed. Throws when the default handler does not work.
 */
export async function prepareRuntimes(
  ctx: Context,
  now: Config,
  next: Config,
  systemdCgroup: boolean,
  { node, runtimes, annotationPatterns }: LiveRuntimes & { readonly node: OciNode },
): Promise<() => void> {
  const changed = new Set(changedHandlers(now.runtime, next.runtime));
  const handlers = Object.fromEntries(
    Object.entries(next.runtime.handlers).filter(([name]) => changed.has(name)),
  );
  const runtime = { ...next.runtime, handlers };
  const programs = await openPrograms(ctx, { ...next, runtime }, systemdCgroup);
  const { defaultHandler } = next.runtime;
  if (!programs.has(defaultHandler) && !runtimes.has(defaultHandler)) {
    throw invalidArgument(
      `runtime.default_handler: ${defaultHandler} is of type "shim" and new: needs a restart`,
    );
  }
  return () => {
    for (const [name, { type }] of Object.entries(now.runtime.handlers)) {
      const isGone = !Object.hasOwn(next.runtime.handlers, name) || changed.has(name);
      if (type === "oci" && isGone) runtimes.delete(name);
    }
    for (const [name, program] of programs) runtimes.set(name, new OciRuntime(program, node));
    const usual = runtimes.get(defaultHandler);
    if (usual !== undefined) runtimes.set("", usual);
    annotationPatterns.clear();
    for (const [name, patterns] of annotationPatternsOf(next))
      annotationPatterns.set(name, patterns);
  };
}

/** What operations look handlers up in. */
export interface LiveRuntimes {
  readonly runtimes: Map<string, Runtime>;
  readonly annotationPatterns: Map<string, AnnotationPatterns>;
}

export interface Runtimes {
  /** By the name of their handler; the default one also under "". */
  readonly runtimes: Map<string, Runtime>;
  /** Of containers whose handler is not configured any more. */
  readonly leftRuntime: Runtime;
}

export function openRuntimes(
  { runtime: { defaultHandler } }: Pick<Config, "runtime">,
  programs: ReadonlyMap<string, OciProgram>,
  shims: readonly Runtime[],
  node: OciNode,
): Runtimes {
  const oci = [...programs.values()].map((program) => new OciRuntime(program, node));
  const runtimes = new Map<string, Runtime>();
  for (const runtime of [...oci, ...shims]) runtimes.set(runtime.name, runtime);
  const first = runtimes.get(defaultHandler);
  if (first === undefined) {
    throw invalidArgument(`runtime.default_handler: no handler is called ${defaultHandler}`);
  }
  runtimes.set("", first);
  return { runtimes, leftRuntime: new OciRuntime(absentProgram, node) };
}

/** What speaks to shims takes megabytes, which only nodes that have one are to pay. */
export type LoadShims = () => Promise<
  Pick<typeof shim, "openShimEvents" | "openShimRuntime" | "shimNamespaceOf">
>;

/** The handlers of type "shim", as far as they work: the default one must. `resources` takes what has to be closed. */
export async function openShims(
  ctx: Context,
  config: Config,
  systemdCgroup: boolean,
  node: Pick<OciNode, "cgroup" | "execOutput" | "monitors">,
  resources: AsyncDisposableStack,
  loadShims: LoadShims,
): Promise<readonly Runtime[]> {
  const { defaultHandler, handlers } = config.runtime;
  const settings = Object.entries(handlers).filter(([, { type }]) => type === "shim");
  if (settings.length === 0) return [];
  const { openShimEvents, openShimRuntime, shimNamespaceOf } = await loadShims();
  const host = {
    ...{ stateDir: config.state, namespace: shimNamespaceOf(config.state) },
    events: resources.use(await openShimEvents(ctx, config.state)),
    ...{ monitors: node.monitors, cgroup: node.cgroup, output: node.execOutput },
    binary: config.executable === "" ? process.execPath : config.executable,
  };
  const open = async ([name, entry]: (typeof settings)[number]) => {
    const runc = {
      binary: embeddedPath(config.payload, "runc"),
      root: `${config.state}/runtime/${name}`,
      systemdCgroup,
    };
    try {
      return [resources.use(await openShimRuntime(ctx, name, entry, host, runc))];
    } catch (err) {
      if (name === defaultHandler) throw new Error(`runtime handler ${name}`, { cause: err });
      ctx.log.warn("runtime handler skipped", { handler: name, err: describe(err) });
      return [];
    }
  };
  return (await Promise.all(settings.map(open))).flat();
}

/** The annotations that each handler is shown, by its name, of the default one also under "". */
export function annotationPatternsOf({
  runtime: { defaultHandler, handlers },
}: Pick<Config, "runtime">): Map<string, AnnotationPatterns> {
  const patterns = new Map<string, AnnotationPatterns>();
  for (const [name, { podAnnotations, containerAnnotations }] of Object.entries(handlers)) {
    const ofHandler = { pod: podAnnotations, container: containerAnnotations };
    patterns.set(name, ofHandler);
    if (name === defaultHandler) patterns.set("", ofHandler);
  }
  return patterns;
}

function embeddedPath(payload: string, name: string): string {
  const part = embedded[name];
  if (part === undefined) throw invalidArgument(`runtime.handlers.${name}.path is not set`);
  return `${payload}/${part}`;
}
