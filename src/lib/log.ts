/** Keys that mean the same in every line; values are scalars so that a line stays one line. */
export interface LogFields {
  readonly sandbox?: string;
  readonly container?: string;
  readonly image?: string;
  readonly digest?: string;
  readonly rpc?: string;
  readonly duration_ms?: number;
  readonly err?: string;
  readonly cleanup_err?: string;
  readonly [key: string]: string | number | boolean | undefined;
}

export const logLevels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof logLevels)[number];

/** `info` state changed, `debug` a step, `warn` handled and odd, `error` a caller was failed. */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log with these fields in every line. */
  with(fields: LogFields): Log;
}

export type LogSink = (line: string) => void;

/** One JSON object a line, or `time LEVEL message key=value` for people. */
export function openLog(
  sink: LogSink,
  options: { readonly level: LogLevel; readonly format: "json" | "text" },
): Log {
  return openLeveledLog(sink, { ...options, leveled: { level: options.level } });
}

/** The same, with a level that may be changed at any time, also for logs that have been bound already. */
export function openLeveledLog(
  sink: LogSink,
  options: { readonly leveled: { readonly level: LogLevel }; readonly format: "json" | "text" },
): Log {
  const { leveled } = options;
  const format = options.format === "json" ? formatJson : formatText;

  function bind(bound: LogFields): Log {
    const at = (level: LogLevel) => {
      const rank = logLevels.indexOf(level);
      return (message: string, fields?: LogFields) => {
        if (rank < logLevels.indexOf(leveled.level)) return;
        sink(format(new Date(), level, message, { ...bound, ...fields }));
      };
    };
    return {
      debug: at("debug"),
      info: at("info"),
      warn: at("warn"),
      error: at("error"),
      with: (fields) => bind({ ...bound, ...fields }),
    };
  }
  return bind({});
}

/** For tests and for operations whose steps nobody reads. */
export const silentLog: Log = openLog(() => {}, { level: "error", format: "json" });

function formatJson(time: Date, level: LogLevel, msg: string, fields: LogFields): string {
  return `${JSON.stringify({ time: time.toISOString(), level, msg, ...fields })}\n`;
}

function formatText(time: Date, level: LogLevel, message: string, fields: LogFields): string {
  const rest = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${typeof value === "string" ? JSON.stringify(value) : value}`);
  return `${time.toISOString()} ${level.toUpperCase().padEnd(5)} ${message}${rest.join("")}\n`;
}
