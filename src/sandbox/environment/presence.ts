import { statSync } from "node:fs";
import { describe } from "../../lib/errors.ts";
import { namespaceIdentity } from "../../network/namespace/identity.ts";
import type { Sandbox } from "../sandbox.ts";
import { sandboxDirectoryOf } from "./directory.ts";
import { type EnvironmentDeps, environmentOf } from "./environment.ts";

/** Of a sandbox's pinned namespaces, by kind. */
export type NamespaceIdentities = Readonly<Record<string, string>>;

/** The namespaces that are pinned for it now. Called when they have been made. */
export function namespaceIdentitiesOf(
  deps: EnvironmentDeps,
  sandbox: Sandbox,
): NamespaceIdentities {
  return Object.fromEntries(
    namespacePaths(deps, sandbox).flatMap(([kind, path]) => {
      const identity = namespaceIdentity(path);
      return identity === undefined ? [] : [[kind, identity]];
    }),
  );
}

/**
 * What is no longer there of all that READY promises: the namespaces that were made for it, what its containers share, and
 * the files that they see. `undefined` while it is whole. A handful of stat(2), no reading of mount tables: cheap enough
 * for every call. The end of its first process is reported by that one's monitor (`recordInfraExit`).
 */
export function missingPart(deps: EnvironmentDeps, sandbox: Sandbox): string | undefined {
  try {
    for (const [kind, path] of namespacePaths(deps, sandbox)) {
      const found = namespaceIdentity(path);
      if (found === undefined) return `${kind} namespace`;
      const made = sandbox.namespaces?.[kind];
      if (made !== undefined && made !== found) return `${kind} namespace, another is in its place`;
    }
    const { hostsPath, shmPath } = environmentOf(deps, sandbox);
    if (statSync(hostsPath, { throwIfNoEntry: false }) === undefined) return "files";
    const { dir } = sandboxDirectoryOf(deps.stateDir, sandbox.id);
    if (shmPath !== undefined && !isMountPoint(shmPath, dir)) return "/dev/shm";
    return undefined;
  } catch (err) {
    return describe(err);
  }
}

function namespacePaths(
  deps: EnvironmentDeps,
  sandbox: Sandbox,
): readonly (readonly [string, string])[] {
  const { netns, ipcns, utsns, userNamespace } = environmentOf(deps, sandbox);
  return Object.entries({ net: netns, ipc: ipcns, uts: utsns, user: userNamespace?.path }).flatMap(
    ([kind, path]) => (path === undefined ? [] : [[kind, path] as const]),
  );
}

function isMountPoint(path: string, parent: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.dev !== statSync(parent).dev;
}
