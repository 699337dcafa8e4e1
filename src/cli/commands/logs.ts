import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import { failedPrecondition, notFound } from "../../lib/errors.ts";
import type { CriClient } from "../client.ts";
import { implementCommand } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { getContainer } from "../find.ts";
import { findLogDirectory, logPlaceOf } from "../log/log-place.ts";
import { parseMoment } from "../log/log-since.ts";
import { printLog } from "../log/print-log.ts";
import { plain } from "../output/output.ts";
import { hasEnded } from "../wait.ts";

export const logs = implementCommand("logs", async (env, options, [key = ""]) => {
  const tail = parseTail(options.tail);
  const moment = (name: "since" | "until") => {
    const text = options[name];
    return text === undefined ? undefined : parseMoment(`--${name}`, text, env.now());
  };
  const [since, before] = [moment("since"), moment("until")];
  using cri = env.connect();
  const { signal } = env.ctx;
  const newest = await getContainer(cri, key, signal);
  const { id, podSandboxId } = options.previous ? await getPrevious(cri, newest, signal) : newest;
  const { status } = await cri.runtime.containerStatus({ containerId: id }, { signal });
  const path = status?.logPath ?? "";
  if (path === "") throw failedPrecondition(`container ${key} has no log file`);
  const ended = hasEnded(cri, id, signal);
  const isOver = async () => (before !== undefined && env.now().getTime() > before) || ended();
  const until = options.follow ? { until: isOver } : {};
  const { timestamps } = options;
  const place = logPlaceOf(path, await findLogDirectory(cri, podSandboxId, signal));
  await printLog(env, place, { tail, since, before, timestamps, signal, ...until });
  return signal.aborted ? exitCodes.interrupted : exitCodes.ok;
});

/** The one of the same name in the same pod that was made before it: a kubelet keeps one for its logs. */
async function getPrevious(
  cri: CriClient,
  { podSandboxId, metadata, createdAt }: pb.Container,
  signal: AbortSignal,
): Promise<pb.Container> {
  const { containers } = await cri.runtime.listContainers({ filter: { podSandboxId } }, { signal });
  const [previous] = containers
    .filter((one) => one.metadata?.name === metadata?.name && one.createdAt < createdAt)
    .sort((a, b) => Number(b.createdAt - a.createdAt));
  if (previous === undefined) {
    throw notFound(`no container before "${plain(metadata?.name ?? "")}"`);
  }
  return previous;
}

function parseTail(text: string | undefined): number | undefined {
  if (text === undefined || text === "all") return undefined;
  if (!/^\d{1,9}$/.test(text))
    throw new UsageError(`--tail ${text}: not a number of lines, or all`);
  return Number(text);
}
