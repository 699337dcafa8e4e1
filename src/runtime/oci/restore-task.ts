import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { CgroupHost } from "../../cgroup/host.ts";
import { oomFiles } from "../../cgroup/oom.ts";
import type { Context } from "../../lib/context.ts";
import { parseExact } from "../../lib/json.ts";
import type { RuntimeSpec, SpecMount } from "../../oci/runtime-spec.ts";
import { criuFailure, requireCriu } from "../criu.ts";
import type { RestoreSource, TaskRecord, TaskReference, TaskStdio } from "../runtime.ts";
import { type BundleFiles, bundleFiles } from "./bundle-files.ts";
import type { OciNode } from "./node.ts";
import type { OciProgram } from "./program.ts";

/** What is kept of a creation until the start. */
interface DeferredRestore {
  readonly source: RestoreSource;
  readonly stdio: TaskStdio;
}

/** Memory is read at the disk's pace. */
const restoreMs = 1_800_000;
/** The key of such a task's record. */
const pendingKey = "restorePending";

/** The record of a task whose process is restored when it is started. */
export function deferRestore({ restore }: BundleFiles, deferred: DeferredRestore): TaskRecord {
  writeFileSync(restore, JSON.stringify(deferred), { mode: 0o600 });
  return { pid: 0, [pendingKey]: 1 };
}

/** Its process has not been made yet. */
export function isPendingRestore(record: TaskRecord | undefined): boolean {
  return record?.[pendingKey] !== undefined;
}

/** Makes the task's process from its checkpoint, which runs when this returns; then it is a task like others. */
export async function restoreTask(
  ctx: Context,
  program: OciProgram,
  node: OciNode,
  { id, bundleDir, cgroupPath }: TaskReference,
): Promise<TaskRecord> {
  requireCriu();
  const bundle = bundleFiles(bundleDir);
  const deferred = parseExact(readFileSync(bundle.restore, "utf8")) as DeferredRestore;
  const { imageDir, workDir } = deferred.source;
  const spec = parseExact(readFileSync(bundle.config, "utf8")) as RuntimeSpec;
  const { apparmorProfile } = spec.process;
  const lsmProfile = apparmorProfile === undefined ? undefined : `apparmor:${apparmorProfile}`;
  // They are mounted into it before the program makes them.
  for (const { source } of spec.mounts.filter(isOwnCgroup(node.cgroup))) {
    mkdirSync(source, { recursive: true });
  }
  const { owner: _none, ...streams } = deferred.stdio;
  try {
    const made = await node.monitors.create(ctx, {
      id,
      bundle,
      command: (files) => ({
        argv: program.restoreArgv({
          ...{ id, bundleDir, imageDir, workDir, lsmProfile },
          pidFile: bundle.pidFile,
          ...files,
        }),
        env: program.env,
      }),
      ...streams,
      oomFiles: cgroupPath === undefined ? [] : oomFiles(node.cgroup, cgroupPath),
      timeoutMs: restoreMs,
    });
    rmSync(bundle.restore);
    return { pid: made.pid, startTime: made.pidStartTime, monitor: made.monitorId };
  } catch (err) {
    ctx.signal.throwIfAborted();
    throw criuFailure(workDir, err, "restore");
  }
}

/**
 * The spec with its own cgroups named one by one, on nodes with version 1: of a mount of all of them runc restores what
 * its own process is in, which may be those of the whole node.
 */
export function withOwnCgroups(
  spec: RuntimeSpec,
  { version, hierarchies }: Pick<CgroupHost, "version" | "hierarchies">,
  cgroupPath: string,
): RuntimeSpec {
  const hasNamespace = spec.linux.namespaces.some(({ type }) => type === "cgroup");
  if (version === 2 || hasNamespace) return spec;
  const mounts = spec.mounts.flatMap((mount): readonly SpecMount[] => {
    if (mount.type !== "cgroup") return [mount];
    return hierarchies.map((root) => ({
      type: "bind",
      destination: `${mount.destination}/${root.split("/").at(-1)}`,
      source: `${root}/${cgroupPath}`,
      options: ["bind", ...mount.options],
    }));
  });
  return { ...spec, mounts };
}

function isOwnCgroup({ hierarchies }: Pick<CgroupHost, "hierarchies">) {
  return ({ type, source }: SpecMount) =>
    type === "bind" && hierarchies.some((root) => source.startsWith(`${root}/`));
}
