import { AppError, notFound } from "../lib/errors.ts";

/** How rows of one kind are written and erased; the memory above them is the same for all. */
export interface Rows<Value> {
  readonly put: (value: Value) => void;
  readonly delete: (id: string) => void;
  /** Runs `apply` when what was written is sure to stay: at once, or when the transaction around it is on disk. */
  readonly whenWritten: (apply: () => void) => void;
}

const leastPrefix = 4;

/**
 * All records of one kind, in memory. A change is seen when it is on disk, and not at all when it cannot be written.
 * Values are immutable: a change is a new value under the same id.
 */
export class Table<Id extends string, Value extends { readonly id: Id }> {
  readonly #kind: string;
  readonly #rows: Rows<Value>;
  readonly #values: Map<Id, Value>;
  #list: readonly Value[] | undefined;

  constructor(kind: string, rows: Rows<Value>, initial: Iterable<Value>) {
    this.#kind = kind;
    this.#rows = rows;
    this.#values = new Map([...initial].map((value) => [value.id, value]));
  }

  /** In order of creation. The same array until something changes. */
  list(): readonly Value[] {
    this.#list ??= [...this.#values.values()];
    return this.#list;
  }

  find(id: Id): Value | undefined {
    return this.#values.get(id);
  }

  get(id: Id): Value {
    const value = this.#values.get(id);
    if (value === undefined) throw notFound(`${this.#kind} ${id} not found`);
    return value;
  }

  /** By id, or by the first digits of an id where they fit only one. */
  resolve(idOrPrefix: string): Value | undefined {
    const exact = this.#values.get(idOrPrefix as Id);
    if (exact !== undefined || idOrPrefix.length < leastPrefix) return exact;
    const fitting = this.list().filter(({ id }) => id.startsWith(idOrPrefix));
    if (fitting.length > 1) {
      throw new AppError(
        `${this.#kind} ${idOrPrefix} is ambiguous: ${fitting.length} ids begin so`,
        {
          kind: "invalid-argument",
        },
      );
    }
    return fitting[0];
  }

  put(value: Value): void {
    this.#rows.put(value);
    this.#rows.whenWritten(() => {
      this.#values.set(value.id, value);
      this.#list = undefined;
    });
  }

  delete(id: Id): void {
    this.#rows.delete(id);
    this.#rows.whenWritten(() => {
      if (this.#values.delete(id)) this.#list = undefined;
    });
  }
}
