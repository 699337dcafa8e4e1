/** What people type who know docker, nerdctl, crictl or kubectl, and what it is here. */
const habits: Readonly<Record<string, string>> = {
  ls: "ps",
  list: "ps",
  container: "ps",
  containers: "ps",
  get: "ps",
  pod: "pods",
  delete: "rm",
  remove: "rm",
  rmp: "rm",
  stopp: "stop",
  create: "run",
  runp: "run",
  describe: "inspect",
  inspecti: "inspect",
  inspectp: "inspect",
  load: "image import",
  import: "image import",
  save: "image save",
  export: "image export",
  statsp: "stats",
  imagefsinfo: "df",
  system: "df",
  status: "info",
  update: "upgrade",
  help: "--help",
};

/** What docker's users type below `image`, and which command it is here. */
const imageHabits: Readonly<Record<string, string>> = {
  ls: "images",
  list: "images",
  rm: "rmi",
  remove: "rmi",
  pull: "pull",
  tag: "tag",
  history: "history",
  prune: "prune images",
  load: "image import",
};

/** `; did you mean "..."?` where one of `known` is close to what was typed, else nothing. */
export function suggestion(typed: string, known: readonly string[], prefix = ""): string {
  const near = nearest(typed, known);
  return near === undefined ? "" : `; did you mean ${prefix}${near}?`;
}

export function commandSuggestion(typed: string, known: readonly string[]): string {
  const habit = Object.hasOwn(habits, typed) ? habits[typed] : undefined;
  return habit === undefined ? suggestion(typed, known, "crib ") : `; did you mean crib ${habit}?`;
}

/** For the second word of a command that has verbs. */
export function verbSuggestion(name: string, typed: string, verbs: readonly string[]): string {
  const habit = name === "image" && Object.hasOwn(imageHabits, typed) && imageHabits[typed];
  return habit ? `; did you mean crib ${habit}?` : suggestion(typed, verbs);
}

const minPrefix = 3;

function nearest(typed: string, known: readonly string[]): string | undefined {
  const limit = typed.length <= 3 ? 1 : 2;
  const ranked = known
    .map((word) => ({ word, distance: distanceOf(typed, word) }))
    .filter(({ word, distance }) => {
      return distance <= limit || (typed.length >= minPrefix && word.startsWith(typed));
    })
    .sort((a, b) => a.distance - b.distance);
  return ranked[0]?.word;
}

/** Insertions, deletions, changes and swaps of neighbours (optimal string alignment). */
function distanceOf(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1];
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row[j] = Math.min(
        (last[j] ?? 0) + 1,
        (row[j - 1] ?? 0) + 1,
        (last[j - 1] ?? 0) + (isSame ? 0 : 1),
        isSwap ? (before[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    before = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
