import { isDeepStrictEqual } from "node:util";
import { createdAfter } from "../container/created-at.ts";
import { getRuntime } from "../container/runtimes.ts";
import type * as pb from "../gen/runtime/v1/api_pb.ts";
import { type Context, detached, withFields } from "../lib/context.ts";
import { AppError, failedPrecondition } from "../lib/errors.ts";
import { generateSandboxId, type SandboxId } from "../lib/id.ts";
import { inStep } from "../lib/step.ts";
import { pinAgain, pinNamespaces, setInterfaceSysctls } from "../network/namespace/netns.ts";
import type { SandboxDeps } from "./deps.ts";
import { attachmentOf } from "./environment/attachment.ts";
import {
  createSandboxDirectory,
  hostnameOf,
  removeSandboxDirectory,
  type SandboxDirectory,
  sandboxDirectoryOf,
} from "./environment/directory.ts";
import { type EnvironmentDeps, isReady } from "./environment/environment.ts";
import { startInfra } from "./environment/infra.ts";
import { pinnedKinds, podNamespaces } from "./environment/namespaces.ts";
import { namespaceIdentitiesOf } from "./environment/presence.ts";
import { userNamespaceOf } from "./environment/user-namespace.ts";
import { type RollBackSandboxDeps, rollBackSetUp, rollbackMs } from "./rollback.ts";
import type { Sandbox, SandboxExtras } from "./sandbox.ts";
import { lockToStop, type StopSandboxDeps, tearDown } from "./stop.ts";
import { type ValidateSandboxDeps, validateSandbox } from "./validate.ts";

export type RunSandboxDeps = ValidateSandboxDeps &
  RollBackSandboxDeps &
  EnvironmentDeps &
  Pick<SandboxDeps, "runs" | "clock" | "namespacesProgram">;

/**
 * Makes the environment of a pod and returns when it is ready: files, pinned namespaces, network. No process runs
 * for it. A repeated call, which asks for the same in every detail, joins the one that is running, and gets the same response as
 * it once more if all its callers had given up: a kubelet would find the pod in the list, but only after an error and
 * its back-off. Any other call for the same pod and attempt is refused.
 */
export function runSandbox(
  ctx: Context,
  deps: RunSandboxDeps,
  config: pb.PodSandboxConfig,
  handler: string,
  id: SandboxId = generateSandboxId(),
  extras?: SandboxExtras,
): Promise<SandboxId> {
  const { name = "", namespace = "", uid = "", attempt = 0 } = config.metadata ?? {};
  const key = JSON.stringify([namespace, name, uid, attempt]);
  const taken = deps.sandboxes
    .list()
    .find((other) => isSame(other.config.metadata, config.metadata));
  const isRepeated = taken?.handler === handler && isDeepStrictEqual(taken.config, config);
  const refuse = (other: SandboxId) => {
    const message = `run sandbox ${namespace}/${name}: attempt ${attempt} is sandbox ${other}`;
    return Promise.reject(new AppError(message, { kind: "already-exists" }));
  };
  if (taken !== undefined && !isRepeated) return refuse(taken.id);
  return deps.runs.run(key, ctx, async (unheard) => {
    if (taken !== undefined) {
      return taken.id === unheard && taken.state === "ready" ? taken.id : await refuse(taken.id);
    }
    const sandbox: Sandbox = {
      id,
      config,
      handler,
      createdAtNs: createdAfter(deps.sandboxes.list(), deps.clock()),
      bootId: deps.bootId,
      state: "starting",
      ips: [],
      networkAttached: false,
      infra: undefined,
      extras,
    };
    await validateSandbox(deps, sandbox);
    getRuntime(deps.runtimes, handler).expectContainers?.();
    const subject = withFields(detached(ctx, setUpMs), { sandbox: sandbox.id });
    await setUp(subject, deps, sandbox);
    return sandbox.id;
  });
}

/** An attempt goes on when its caller gives up, because the caller will come again: this is its own end. */
const setUpMs = 240_000;

/** The row comes first and says what was begun: a failure here and a restart undo the same from it. */
async function setUp(ctx: Context, deps: RunSandboxDeps, intent: Sandbox): Promise<void> {
  await using rollback = new AsyncDisposableStack();
  inStep(ctx, "records.write", () => deps.sandboxes.put(intent));
  rollback.defer(() => rollBackSetUp(detached(ctx, rollbackMs), deps, intent.id));
  await bringUp(ctx, deps, intent, rollback);
  rollback.move();
}

/**
 * Gives a sandbox that is not ready another environment, under the id that it has: after a reboot, or when it was
 * stopped. Its containers have ended. When it fails the sandbox is not ready, as before. CRI has no such call.
 */
export async function renewSandbox(
  ctx: Context,
  deps: RunSandboxDeps & StopSandboxDeps,
  id: SandboxId,
): Promise<void> {
  using _lock = await lockToStop(ctx, deps, id);
  const sandbox = deps.sandboxes.get(id);
  if (sandbox.state === "ready") return;
  await validateSandbox(deps, sandbox);
  const subject = withFields(detached(ctx, setUpMs), { sandbox: id });
  await tearDown(subject, deps, sandbox);
  removeSandboxDirectory(sandboxDirectoryOf(deps.stateDir, id));
  const { infra: _ended, ...last } = deps.sandboxes.get(id);
  const intent: Sandbox = { ...last, infra: undefined, bootId: deps.bootId, ips: [] };
  await using rollback = new AsyncDisposableStack();
  deps.sandboxes.put(intent);
  rollback.defer(async () => {
    const failed: Sandbox = { ...deps.sandboxes.get(id), state: "not-ready" };
    deps.sandboxes.put(failed);
    await tearDown(detached(ctx, rollbackMs), deps, failed);
  });
  await bringUp(subject, deps, intent, rollback);
  rollback.move();
}

async function bringUp(
  ctx: Context,
  deps: RunSandboxDeps,
  intent: Sandbox,
  rollback: AsyncDisposableStack,
): Promise<void> {
  const { id, config } = intent;
  const namespaces = podNamespaces(config);
  const paths = sandboxDirectoryOf(deps.stateDir, id);
  const shared = sharedNetworkOf(deps, intent);
  inStep(ctx, "sandbox.files", () =>
    createSandboxDirectory(paths, config, {
      hostAliases: intent.extras?.hostAliases,
      shared: shared?.paths,
    }),
  );
  const pinning = {
    dir: paths.namespaces,
    netPath: paths.netns,
    kinds: pinnedKinds(namespaces).filter((kind) => kind !== "net" || shared === undefined),
    hostname: hostnameOf(config),
    sysctls: config.linux?.sysctls ?? {},
    ...userNamespaceOf(deps, intent),
  };
  await inStep(ctx, "network.namespaces", () =>
    pinNamespaces(ctx, deps.namespacesProgram, pinning),
  );
  if (shared !== undefined) pinAgain(shared.paths.netns, paths.netns);
  const made: Sandbox = { ...intent, namespaces: namespaceIdentitiesOf(deps, intent) };
  let ready: Sandbox = { ...made, ips: shared?.ips ?? made.ips, state: "ready" };
  if (namespaces.net && intent.extras?.network === undefined) {
    const attaching = { ...made, networkAttached: true };
    deps.sandboxes.put(attaching);
    const { ips } = await inStep(ctx, "network.attach", () =>
      deps.network.attach(ctx, attachmentOf(deps.stateDir, attaching, true)),
    );
    const sysctls = config.linux?.sysctls ?? {};
    await setInterfaceSysctls(ctx, deps.namespacesProgram, paths.netns, sysctls);
    ready = { ...attaching, ips, state: "ready" };
  }
  const isMachine = getRuntime(deps.runtimes, intent.handler).sandboxTask === "always";
  if (isMachine || (deps.processPerNetwork && namespaces.net)) {
    await inStep(ctx, "sandbox.task", () => startInfra(ctx, deps, deps.sandboxes.get(id)));
    ready = { ...deps.sandboxes.get(id), ips: ready.ips, state: "ready" };
  }
  using _agreed = await askPlugins(ctx, deps, ready, rollback);
  inStep(ctx, "records.write", () => deps.sandboxes.put(ready));
  ctx.log.info("sandbox ready", { sandbox: id });
  for (const type of ["created", "started"] as const) {
    deps.events.publish({ type, sandbox: ready });
  }
}

/** Where the sandbox is whose network this one has. Throws `failed-precondition` while that is not ready. */
function sharedNetworkOf(
  deps: EnvironmentDeps,
  { id, extras }: Sandbox,
): { readonly paths: SandboxDirectory; readonly ips: Sandbox["ips"] } | undefined {
  const network = extras?.network;
  if (network === undefined || network === "none") return undefined;
  const other = deps.sandboxes.find(network.of);
  const hasOwn = other !== undefined && podNamespaces(other.config).net;
  if (other === undefined || !hasOwn || !isReady(deps, network.of)) {
    const why =
      other === undefined ? "is gone" : hasOwn ? "is not ready" : "has the node's network";
    throw failedPrecondition(`share the network of sandbox ${network.of} with ${id}: it ${why}`);
  }
  return { paths: sandboxDirectoryOf(deps.stateDir, network.of), ips: other.ips };
}

/** The last step before the pod is there for anybody; undone, it is stopped and removed for plugins too. */
async function askPlugins(
  ctx: Context,
  deps: Pick<SandboxDeps, "plugins">,
  ready: Sandbox,
  rollback: AsyncDisposableStack,
): Promise<Disposable> {
  rollback.defer(async () => {
    const stopped: Sandbox = { ...ready, state: "not-ready" };
    await deps.plugins.stopSandbox(detached(ctx), stopped);
    (await deps.plugins.removeSandbox(detached(ctx), stopped))[Symbol.dispose]();
  });
  return await inStep(ctx, "plugins.call", () => deps.plugins.runSandbox(ctx, ready));
}

function isSame(
  a: pb.PodSandboxMetadata | undefined,
  b: pb.PodSandboxMetadata | undefined,
): boolean {
  return (
    a?.name === b?.name &&
    a?.namespace === b?.namespace &&
    a?.uid === b?.uid &&
    a?.attempt === b?.attempt
  );
}
