import { Field } from "../gen/nri/v1alpha1/api_pb.ts";
import { failedPrecondition } from "../lib/errors.ts";

type FieldNumber = (typeof Field)[keyof typeof Field];

/** What a plugin changes: a field, or one entry of it. */
export interface Claim {
  readonly field: FieldNumber;
  /** Name of an environment variable, destination of a mount, ...; absent for a field that is one value. */
  readonly key?: string;
}

/** Which plugin set what in one container: two that want the same thing are in conflict. */
export class Owners {
  readonly #simple = new Map<FieldNumber, string>();
  readonly #compound = new Map<FieldNumber, Map<string, string>>();

  /** Throws `failed-precondition` when another plugin has it. */
  claim({ field, key }: Claim, plugin: string): void {
    const other = key === undefined ? this.#simple.get(field) : this.#compound.get(field)?.get(key);
    if (other !== undefined && other !== plugin) {
      const entry = key === undefined ? "" : ` ${JSON.stringify(key.slice(0, 200))}`;
      throw failedPrecondition(
        `NRI plugins ${other} and ${plugin} both set ${nameOf(field)}${entry}`,
      );
    }
    if (key === undefined) this.#simple.set(field, plugin);
    else entriesOf(this.#compound, field).set(key, plugin);
  }

  /** For fields that plugins add to: all of them own it. */
  share(field: FieldNumber, plugin: string): void {
    const before = this.#simple.get(field);
    this.#simple.set(field, before === undefined ? plugin : `${before},${plugin}`);
  }

  /** A plugin may take away what another has set, and then set it. */
  release({ field, key }: Claim): void {
    if (key === undefined) this.#simple.delete(field);
    else this.#compound.get(field)?.delete(key);
  }

  ownersOf(field: FieldNumber): readonly string[] {
    const one = this.#simple.get(field)?.split(",") ?? [];
    return [...new Set([...one, ...(this.#compound.get(field)?.values() ?? [])])];
  }

  /** As validators get it. */
  toMessage() {
    const compound = [...this.#compound].map(
      ([field, owners]) => [field, { owners: Object.fromEntries(owners) }] as const,
    );
    return { simple: Object.fromEntries(this.#simple), compound: Object.fromEntries(compound) };
  }
}

function entriesOf(map: Map<FieldNumber, Map<string, string>>, field: FieldNumber) {
  const entries = map.get(field) ?? new Map<string, string>();
  map.set(field, entries);
  return entries;
}

function nameOf(field: FieldNumber): string {
  return Object.entries(Field).find(([, number]) => number === field)?.[0] ?? String(field);
}
