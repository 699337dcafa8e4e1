import type { CommandEnv } from "../command.ts";
import { type LogPlace, type ReadLogOptions, readLog } from "./log-file.ts";

/** Writes a container's log as the container wrote it: its stdout to stdout, its stderr to stderr. */
export async function printLog(
  env: CommandEnv,
  place: LogPlace,
  options: ReadLogOptions & {
    readonly timestamps?: boolean;
    /** Nothing before this moment, in milliseconds. */
    readonly since?: number | undefined;
    /** Nothing after this one. */
    readonly before?: number | undefined;
  },
): Promise<void> {
  const isInside = { stdout: false, stderr: false };
  const { since = Number.NEGATIVE_INFINITY, before = Number.POSITIVE_INFINITY } = options;
  for await (const { stream, isPartial, content, time } of readLog(place, options)) {
    const at = Date.parse(time);
    if (at < since) continue;
    if (at > before) return;
    const stamp = options.timestamps && !isInside[stream] ? `${time} ` : "";
    const bytes = Buffer.concat([Buffer.from(stamp), content, Buffer.from(isPartial ? "" : "\n")]);
    if (stream === "stdout") env.out.write(bytes);
    else env.out.writeError(bytes);
    isInside[stream] = isPartial;
  }
}
