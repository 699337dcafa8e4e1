type Labels = Readonly<Record<string, string>>;

/** Every label of the selector is there with that value; an empty selector matches everything. */
export function matchesLabels(labels: Labels, selector: Labels | undefined): boolean {
  return Object.entries(selector ?? {}).every(
    ([key, value]) => Object.hasOwn(labels, key) && labels[key] === value,
  );
}

/** Ids are given whole or by their beginning; an empty one matches everything. */
export function matchesId(id: string, prefix: string | undefined): boolean {
  return prefix === undefined || id.startsWith(prefix);
}
