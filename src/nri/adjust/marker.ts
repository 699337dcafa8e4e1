/** A key that a plugin wants removed has this in front. */
const marker = "-";

export interface Marked {
  readonly key: string;
  readonly isRemoval: boolean;
}

export function parseKey(text: string): Marked {
  return text.startsWith(marker)
    ? { key: text.slice(marker.length), isRemoval: true }
    : { key: text, isRemoval: false };
}

/** Lays a list of entries and removals over another: what has the same key is replaced, new entries come last. */
export function overlayList<Item>(
  base: readonly Item[],
  changes: readonly Item[],
  keyOf: (item: Item) => string,
): Item[] {
  const changed = new Set(changes.map((item) => parseKey(keyOf(item)).key));
  const kept = base.filter((item) => !changed.has(parseKey(keyOf(item)).key));
  const last = new Map(
    changes
      .filter((item) => !parseKey(keyOf(item)).isRemoval)
      .map((item) => [parseKey(keyOf(item)).key, item]),
  );
  return [...kept, ...last.values()];
}

/** The same for the entries of a map. */
export function overlayMap<Value>(
  base: Readonly<Record<string, Value>>,
  changes: Readonly<Record<string, Value>>,
): Record<string, Value> {
  return Object.fromEntries(
    overlayList(Object.entries(base), Object.entries(changes), ([key]) => key),
  );
}
