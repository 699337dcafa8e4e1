/* Readers of the formats that cgroup files have (kernel: admin-guide/cgroup-v2.rst, "Interface Files"). */

/** Version 1 writes the largest multiple of the page size for "no limit", version 2 writes `max`. */
const unlimited = 2 ** 62;

/** A single number; `undefined` for an absent file, for `max`, and for what stands for "no limit". */
export function parseNumber(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  return text.trim() === "" || !Number.isFinite(value) || value >= unlimited ? undefined : value;
}

/** A counter that may be larger than a double holds exactly: nanoseconds. */
export function parseCounter(text: string | undefined): bigint | undefined {
  const digits = text?.trim() ?? "";
  return /^\d+$/.test(digits) ? BigInt(digits) : undefined;
}

export interface FlatValues {
  /** `undefined` for a key that is not there. */
  get(key: string): number | undefined;
}

/** Lines of `key value`. Looks for what is asked: memory.stat has sixty lines, of which six matter. */
export function parseFlat(text = ""): FlatValues {
  return {
    get(key) {
      const line = text.startsWith(`${key} `) ? 0 : text.indexOf(`\n${key} `) + 1;
      if (line === 0 && !text.startsWith(`${key} `)) return undefined;
      const begin = line + key.length + 1;
      const end = text.indexOf("\n", begin);
      return Number(text.slice(begin, end < 0 ? undefined : end));
    },
  };
}

/** What tasks have waited for one resource (kernel: accounting/psi.rst). */
export interface Pressure {
  /** At least one task waited. */
  readonly some: PressureLine;
  /** All tasks that were not idle waited. */
  readonly full: PressureLine;
}

export interface PressureLine {
  readonly totalNs: bigint;
  /** Percent of the last 10, 60 and 300 seconds. */
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
}

const pressureLine = (kind: string) =>
  new RegExp(`^${kind} avg10=([\\d.]+) avg60=([\\d.]+) avg300=([\\d.]+) total=(\\d+)$`, "m");
const someLine = pressureLine("some");
const fullLine = pressureLine("full");
const none: PressureLine = { totalNs: 0n, avg10: 0, avg60: 0, avg300: 0 };

/** A `*.pressure` file. Kernels before 5.13 have no `full` line for the CPU. */
export function parsePressure(text: string | undefined): Pressure | undefined {
  if (text === undefined) return undefined;
  const some = parseLine(someLine, text);
  return some === undefined ? undefined : { some, full: parseLine(fullLine, text) ?? none };
}

function parseLine(pattern: RegExp, text: string): PressureLine | undefined {
  const match = pattern.exec(text);
  if (match === null) return undefined;
  const [, avg10, avg60, avg300, total = "0"] = match;
  return {
    totalNs: BigInt(total) * 1000n,
    avg10: Number(avg10),
    avg60: Number(avg60),
    avg300: Number(avg300),
  };
}
