import { failedPrecondition } from "../../lib/errors.ts";
import { defineCommand } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { getContainer } from "../find.ts";
import { printLog } from "../print-log.ts";
import { hasEnded } from "../wait.ts";

export const logs = defineCommand({
  name: "logs",
  group: "containers and pods",
  summary: "print what a container wrote",
  usage: "CONTAINER",
  details: "Reads the log file on this node: stdout goes to stdout, stderr to stderr.",
  examples: ["crib logs web", "crib logs -f --tail 10 web", "crib logs web 2>/dev/null | wc -l"],
  options: {
    follow: { kind: "flag", short: "f", help: "go on until the container ends or Ctrl-C" },
    tail: { kind: "value", short: "n", argument: "N", help: "only the last N lines" },
    timestamps: { kind: "flag", short: "t", help: "put its time in front of each line" },
  },
  positionals: { min: 1, max: 1 },
  async run(env, options, [key = ""]) {
    const tail = parseTail(options.tail);
    using cri = env.connect();
    const { signal } = env.ctx;
    const { id } = await getContainer(cri, key, signal);
    const { status } = await cri.runtime.containerStatus({ containerId: id }, { signal });
    const path = status?.logPath ?? "";
    if (path === "") throw failedPrecondition(`container ${key} has no log file`);
    const until = options.follow ? { until: hasEnded(cri, id, signal) } : {};
    await printLog(env, path, { tail, timestamps: options.timestamps, signal, ...until });
    return signal.aborted ? exitCodes.interrupted : exitCodes.ok;
  },
});

function parseTail(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`--tail ${text}: not a number of lines`);
  return Number(text);
}
