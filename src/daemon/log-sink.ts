import { writeSync } from "node:fs";
import { type Log, type LogLevel, type LogSink, openLeveledLog } from "../lib/log.ts";
import type { Config } from "./config/config.ts";

/** The daemon's log: stderr, JSON unless it is a terminal or the configuration says otherwise. */
export function openDaemonLog(config: Config["log"], leveled: { readonly level: LogLevel }): Log {
  const auto = process.stderr.isTTY ? "text" : "json";
  const format = config.format === "auto" ? auto : config.format;
  return openLeveledLog(fdSink(2), { leveled, format });
}

/**
 * Writes whole lines and never throws nor waits: a reader that is gone or slow costs lines, not the daemon.
 * When lines were lost, the next one that gets through is preceded by one that says how many.
 */
export function fdSink(fd: number): LogSink {
  let lost = 0;
  let unfinished = Buffer.alloc(0);
  return (line) => {
    const notice = lost === 0 ? "" : lostNotice(lost);
    const bytes = Buffer.concat([unfinished, Buffer.from(notice + line)]);
    try {
      unfinished = bytes.subarray(writeSync(fd, bytes));
      lost = 0;
    } catch {
      lost++;
    }
  };
}

function lostNotice(lines: number): string {
  const time = new Date().toISOString();
  return `${JSON.stringify({ time, level: "warn", msg: "log lines lost", lines })}\n`;
}
