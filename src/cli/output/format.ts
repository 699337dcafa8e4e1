const units = ["B", "kB", "MB", "GB", "TB", "PB"] as const;

/** `0 B`, `999 B`, `1.2 kB`, `42 MB`: decimal units, two digits where there is room. */
export function formatSize(sizeBytes: number | bigint): string {
  let value = Number(sizeBytes);
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  const digits = unit > 0 && value < 9.95 ? value.toFixed(1) : value.toFixed(0);
  return `${digits} ${units[unit]}`;
}

/** `12s`, `5m`, `3h`, `9d`; `-` for a time that CRI leaves at 0. */
export function formatAge(sinceNs: bigint, now: Date): string {
  if (sinceNs === 0n) return "-";
  return formatDuration(Math.max(0, now.getTime() - Number(sinceNs / 1_000_000n)));
}

/** One unit, the largest that fits: ages in a table. */
export function formatDuration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 120 * 60) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** For steps that a person watches: `7 ms`, `1.24 s`. */
export function formatElapsed(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** The first 13 digits tell objects of a node apart; `sha256:` in front of them says nothing. */
export function shortId(id: string): string {
  return id.replace(/^sha256:/, "").slice(0, 13);
}
