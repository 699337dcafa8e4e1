import type { Adjustment, Agreement, ContainerPlugins } from "../container/plugins.ts";
import type { Context } from "../lib/context.ts";
import type { Sandbox, SandboxResources } from "./sandbox.ts";

/** As for containers: a request throws where a plugin refuses, a notification never throws. */
export interface SandboxPlugins extends ContainerPlugins {
  runSandbox(ctx: Context, sandbox: Sandbox): Promise<Agreement>;
  updateSandbox(ctx: Context, sandbox: Sandbox, change: SandboxResources): Promise<void>;
  postUpdateSandbox(ctx: Context, sandbox: Sandbox): Promise<void>;
  /** Its containers have ended; network and namespaces are still there. */
  stopSandbox(ctx: Context, sandbox: Sandbox): Promise<void>;
  removeSandbox(ctx: Context, sandbox: Sandbox): Promise<Agreement>;
}

const nothing: Adjustment = { requests: { devices: [] }, apply: (spec) => spec, resources: {} };

/** While no plugin is there. */
export function idlePlugins(agree: () => Agreement): SandboxPlugins {
  return {
    ...silent,
    createContainer: async () => ({ ...nothing, ...agree() }),
    removeContainer: async () => agree(),
    runSandbox: async () => agree(),
    removeSandbox: async () => agree(),
  };
}

const silent = {
  rollBackCreateContainer: async () => {},
  postCreateContainer: async () => {},
  startContainer: async () => {},
  postStartContainer: async () => {},
  updateContainer: async () => ({}),
  postUpdateContainer: async () => {},
  stopContainer: () => {},
  updateSandbox: async () => {},
  postUpdateSandbox: async () => {},
  stopSandbox: async () => {},
} as const satisfies Partial<SandboxPlugins>;

/** Where plugins are not wanted. */
export const noPlugins: SandboxPlugins = idlePlugins(() => ({ [Symbol.dispose]: () => {} }));
