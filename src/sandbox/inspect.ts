import { bundleOf, readConfig } from "../bundle/bundle.ts";
import { annotationPatterns } from "../container/runtimes.ts";
import { infraAnnotations } from "../container/spec/annotations.ts";
import { ociVersion } from "../container/spec/build.ts";
import { podNamespaces } from "../container/spec/namespaces.ts";
import type { SandboxDeps } from "./deps.ts";
import { type EnvironmentDeps, environmentOf } from "./environment/environment.ts";
import type { Sandbox } from "./sandbox.ts";

/** What people and tools want to know of a sandbox beyond its record. */
export interface SandboxDetails {
  /** Path of its network namespace; absent with the node's. */
  readonly netns: string | undefined;
  /**
   * The config.json of the process that holds its PID namespace. A sandbox without one has its namespaces here, where
   * tools look for their paths: `linux.namespaces`, in the form of the runtime-spec.
   */
  readonly runtimeSpec: unknown;
}

export function inspectSandbox(
  deps: EnvironmentDeps & Pick<SandboxDeps, "annotationPatterns">,
  sandbox: Sandbox,
): SandboxDetails {
  const environment = environmentOf(deps, sandbox);
  const { netns, hostname } = environment;
  const ofInfra = sandbox.infra && readConfig(bundleOf(deps.stateDir, sandbox.infra.id));
  return {
    netns,
    runtimeSpec: ofInfra ?? {
      ociVersion,
      hostname,
      annotations: infraAnnotations(environment, annotationPatterns(deps, sandbox.handler)),
      linux: { namespaces: podNamespaces(environment) },
    },
  };
}
