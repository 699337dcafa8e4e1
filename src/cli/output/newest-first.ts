import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { CommandEnv } from "../command.ts";
import { formatAge, shortId } from "./format.ts";
import { type ListForm, writeList } from "./list-output.ts";

/** Containers or pods, the newest at the top. `row` gives the cells between the id and the age. */
export function writeNewestFirst<
  T extends { readonly id: string; readonly createdAt: bigint },
  D extends DescMessage,
>(
  env: CommandEnv,
  form: ListForm & { readonly "no-trunc": boolean },
  list: {
    readonly items: readonly T[];
    readonly schema: D;
    readonly message: (sorted: T[]) => MessageShape<D>;
    readonly header: readonly [string, ...string[]];
    readonly row: (item: T) => readonly string[];
  },
): void {
  const sorted = list.items.toSorted((a, b) => Number(b.createdAt - a.createdAt));
  const now = env.now();
  writeList(env.out, form, {
    schema: list.schema,
    message: list.message(sorted),
    ids: sorted.map(({ id }) => id),
    header: [...list.header, "AGE"],
    rows: sorted.map((item) => [
      form["no-trunc"] ? item.id : shortId(item.id),
      ...list.row(item),
      formatAge(item.createdAt, now),
    ]),
  });
}
