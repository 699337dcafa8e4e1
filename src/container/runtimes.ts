import { bundleOf } from "../bundle/bundle.ts";
import { notFound } from "../lib/errors.ts";
import type { ContainerId } from "../lib/id.ts";
import { hostUser } from "../oci/pod-ids.ts";
import type { Runtime, StreamOwner, Task, TaskRecord, TaskStdio } from "../runtime/runtime.ts";
import type { Container } from "./container.ts";
import type { ContainerDeps } from "./deps.ts";
import { podLogDirectoryOf } from "./log-path.ts";
import { type AnnotationPatterns, noPatterns } from "./spec/annotations.ts";

/** The runtime of the handler that a RuntimeClass names; "" is the default one. */
export function getRuntime(runtimes: ReadonlyMap<string, Runtime>, handler: string): Runtime {
  const runtime = runtimes.get(handler);
  if (runtime !== undefined) return runtime;
  throw notFound(`runtime handler ${JSON.stringify(handler)} is not configured`);
}

/** What a container holds while it has, or may have, a process. */
export interface ProcessHolder {
  readonly id: ContainerId;
  readonly handler: string;
  /** Unknown where the record is lost; then the runtime alone removes it. */
  readonly cgroupPath: string | undefined;
  readonly task?: TaskRecord | undefined;
}

/** What finding the task of a container needs. */
export type TaskDeps = Pick<ContainerDeps, "stateDir" | "runtimes" | "leftRuntime">;

/** A handle of the container's task, whether or not it is there; also where its handler is not configured any more. */
export function taskOf(deps: TaskDeps, container: ProcessHolder): Task {
  const { id, handler, cgroupPath, task } = container;
  const runtime = deps.runtimes.get(handler) ?? deps.leftRuntime;
  const bundleDir = bundleOf(deps.stateDir, id).dir;
  return runtime.task({ id, bundleDir, cgroupPath, record: task });
}

/** Where the streams of a container's own program go. */
export function stdioOf(
  deps: Pick<ContainerDeps, "logLimits">,
  container: Pick<Container, "sandboxId" | "config" | "logPath" | "ids" | "user">,
): TaskStdio {
  const { config, logPath } = container;
  return {
    terminal: config.tty,
    stdin: config.stdin,
    stdinOnce: config.stdinOnce,
    logPath,
    podLogDirectory: podLogDirectoryOf(logPath, config.logPath),
    logLimits: deps.logLimits(container.sandboxId),
    owner: streamOwnerOf(container),
  };
}

/** The node's id of the container's user, in a pod with a user namespace. */
export function streamOwnerOf({
  ids,
  user,
}: Pick<Container, "ids" | "user">): StreamOwner | undefined {
  return ids === undefined ? undefined : hostUser(ids, user);
}

/** The annotations of clients that this handler is shown: none unless the configuration says so. */
export function annotationPatterns(
  deps: Pick<ContainerDeps, "annotationPatterns">,
  handler: string,
): AnnotationPatterns {
  return deps.annotationPatterns.get(handler) ?? noPatterns;
}
