import { UsageError } from "../failure.ts";

const units = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `10m`, `2h30m`, seconds since 1970 or a time as `2026-01-01T08:00:00Z`: the moment in milliseconds. */
export function parseMoment(option: string, text: string, now: Date): number {
  if (/^(\d{1,9}[smhd])+$/.test(text)) {
    const parts = [...text.matchAll(/(\d+)([smhd])/g)];
    const ago = parts.map(([, count, unit]) => Number(count) * units[unit as keyof typeof units]);
    return now.getTime() - ago.reduce((sum, ms) => sum + ms, 0);
  }
  if (/^\d{9,11}(\.\d{1,9})?$/.test(text)) return Number(text) * 1000;
  const time = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time)) throw new UsageError(`${option} ${text}: neither 10m nor a time`);
  return time;
}
