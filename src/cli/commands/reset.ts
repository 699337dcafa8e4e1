import { failedPrecondition } from "../../lib/errors.ts";
import { type CriClient, openCriClient, parseEndpoint } from "../client.ts";
import { type CommandEnv, implementCommand, type NodeTools } from "../command.ts";
import { confirm } from "../confirm.ts";
import { describeFailure, exitCodes, failureKind } from "../failure.ts";
import { requireRoot } from "../node-service.ts";
import { plain } from "../output/output.ts";
import { removePod, removeRunLogs } from "../run/remove-pod.ts";

export const reset = implementCommand("reset", async (env, options) => {
  requireRoot("reset");
  const { all, config, root, state } = options;
  // Whoever says where a daemon's files are means that one, and not the environment's.
  const isPlaced = [config, root, state].some((place) => place !== undefined);
  const socket = options.socket ?? (isPlaced ? undefined : env.variables["CRIB_SOCKET"]);
  const listen = socket === undefined ? undefined : `unix://${parseEndpoint(socket)}`;
  const tools = await env.loadNodeTools({ config, root, state, listen });
  using cri = openCriClient(tools.socket);
  const isRunning = await isServing(cri, env.ctx.signal);
  if (isRunning && all) {
    throw failedPrecondition("crib serve is running: stop it first, as with `systemctl stop crib`");
  }
  const places = all ? `, and everything in ${tools.root} and ${tools.state}` : "";
  const what = `This removes all pods and containers of this node${places}.`;
  if (!options.yes && !(await confirm(env, what))) return exitCodes.failed;
  return isRunning ? await resetRunning(env, cri) : await resetStopped(env, tools, all);
});

async function isServing(cri: CriClient, signal: AbortSignal): Promise<boolean> {
  try {
    await cri.runtime.version({}, { signal });
    return true;
  } catch (err) {
    if (failureKind(err) === "unavailable") return false;
    throw err;
  }
}

/** Side by side: containers that do not heed their stop signal take their time. */
async function resetRunning(env: CommandEnv, cri: CriClient): Promise<number> {
  const { signal } = env.ctx;
  const { items } = await cri.runtime.listPodSandbox({}, { signal });
  const { containers } = await cri.runtime.listContainers({}, { signal });
  const ends = await Promise.allSettled(items.map((pod) => removePod(cri, pod, signal)));
  const failures = ends.flatMap((end) => (end.status === "rejected" ? [end.reason] : []));
  signal.throwIfAborted();
  const left = await cri.runtime.listContainers({}, { signal });
  return tell(env, {
    done: [counted(items.length - failures.length, containers.length - left.containers.length)],
    failures: failures.map(describeFailure),
  });
}

export async function resetStopped(
  env: CommandEnv,
  tools: NodeTools,
  all: boolean,
): Promise<number> {
  const report = await tools.reset(env.ctx, { wipe: all });
  for (const pod of report.pods) await removeRunLogs(pod);
  return tell(env, {
    done: [
      counted(report.pods.length, report.containers),
      report.networkRemoved
        ? "the embedded network is gone"
        : "the embedded network stays: pods of another daemon use it",
      ...(all && report.failures.length === 0 ? [`${tools.root} and ${tools.state} are gone`] : []),
    ],
    failures: report.failures,
  });
}

function counted(pods: number, containers: number): string {
  const several = (count: number, what: string) => `${count} ${what}${count === 1 ? "" : "s"}`;
  return `removed ${several(pods, "pod")} with ${several(containers, "container")}`;
}

function tell(
  env: CommandEnv,
  { done, failures }: { readonly done: readonly string[]; readonly failures: readonly string[] },
): number {
  for (const line of done) env.out.write(`${plain(line)}\n`);
  for (const line of failures) env.out.writeError(`crib: ${plain(line)}\n`);
  return failures.length > 0 ? exitCodes.failed : exitCodes.ok;
}
