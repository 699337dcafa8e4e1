import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { clone, create, type Message, ScalarType } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import fc from "fast-check";

/** One field of a request, wherever it is in it, and what is put there. */
export interface Mutation {
  /** Names of fields from the top of the message, as in the proto. */
  readonly path: readonly string[];
  readonly value: unknown;
}

/** By the name of a field, or the end of its path: values that mean something there, right ones and wrong ones. */
export type Hints = Readonly<Record<string, readonly unknown[]>>;

const texts = [
  ...[
    "",
    " ",
    "/",
    "//",
    "/a b",
    "..",
    "a/../b",
    "../../etc",
    "/proc/self",
    "a\nb",
    "a\tb",
    "a\0b",
  ],
  ...["-", "-rf", ";", "a=b;c=d", "%s", "~", "é", "\u{1f600}", "\ud800", "x", "name", "/tmp"],
  ..."kubepods.slice /kubepods.slice/kubepods-a.slice 1 0 -1 1.5 1e9 true null garbage".split(" "),
  "x".repeat(64),
  "x".repeat(300),
  "/x".repeat(3000),
  "x".repeat(70_000),
];
const numbers = [0, 1, 2, 3, 7, 64, 100, 1000, 65_535, 65_536, 2 ** 31 - 1, -1, -2, -(2 ** 31)];
const unsigned = numbers.map((number) => (number < 0 ? 2 ** 32 + number : number));
const longs = [0n, 1n, -1n, 2n, 100n, 1000n, 1n << 20n, 1n << 31n, (1n << 63n) - 1n, -(1n << 63n)];

const maxDepth = 5;

/** Any field below `schema` with any value of its type. */
export function mutationOf(schema: DescMessage, hints: Hints): fc.Arbitrary<Mutation> {
  const places = placesOf(schema, []);
  return fc.constantFrom(...places).chain(({ path, field }) =>
    fieldValue(field, hintFor(path, hints), maxDepth - path.length).map((value) => ({
      path,
      value,
    })),
  );
}

/** A copy of `base` with the mutations made one after the other. */
export function mutate<M extends Message>(
  schema: GenMessage<M>,
  base: M,
  mutations: readonly Mutation[],
): M {
  const changed = clone(schema, base);
  for (const { path, value } of mutations) put(schema, changed, path, value);
  return changed;
}

function put(schema: DescMessage, message: object, path: readonly string[], value: unknown): void {
  const [name = "", ...rest] = path;
  const field = schema.fields.find((one) => one.name === name);
  if (field === undefined) throw new TypeError(`${schema.name} has no ${name}`);
  const fields = message as Record<string, unknown>;
  if (rest.length === 0 || field.message === undefined) {
    fields[field.localName] = value;
    return;
  }
  const inner = (fields[field.localName] ?? create(field.message)) as object;
  fields[field.localName] = inner;
  put(field.message, inner, rest, value);
}

interface Place {
  readonly path: readonly string[];
  readonly field: DescField;
}

function placesOf(schema: DescMessage, above: readonly string[]): readonly Place[] {
  if (above.length === maxDepth) return [];
  // What is for Windows is for nobody here.
  const fields = schema.fields.filter(({ name }) => name !== "windows");
  return fields.flatMap((field) => {
    const path = [...above, field.name];
    const below = field.fieldKind === "message" ? placesOf(field.message, path) : [];
    return [{ path, field }, ...below];
  });
}

function hintFor(path: readonly string[], hints: Hints): readonly unknown[] | undefined {
  for (let from = 0; from < path.length; from++) {
    const found = hints[path.slice(from).join(".")];
    if (found !== undefined) return found;
  }
  return undefined;
}

function fieldValue(
  field: DescField,
  hints: readonly unknown[] | undefined,
  depth: number,
): fc.Arbitrary<unknown> {
  const any = anyOf(field, depth);
  return hints === undefined
    ? any
    : fc.oneof({ arbitrary: fc.constantFrom(...hints), weight: 4 }, any);
}

function anyOf(field: DescField, depth: number): fc.Arbitrary<unknown> {
  switch (field.fieldKind) {
    case "list":
      return fc.array(itemOf(field, depth), { maxLength: 3 });
    case "map":
      return fc.dictionary(fc.constantFrom(...texts), itemOf(field, depth), { maxKeys: 2 });
    case "message":
      return fc.oneof(fc.constant(undefined), itemOf(field, depth));
    default:
      return itemOf(field, depth);
  }
}

function itemOf(field: DescField, depth: number): fc.Arbitrary<unknown> {
  if (field.message !== undefined) return messageOf(field.message, depth - 1);
  if (field.enum !== undefined) {
    return fc.constantFrom(...field.enum.values.map(({ number }) => number), 99, -1);
  }
  return scalarOf(field.scalar ?? ScalarType.STRING);
}

function messageOf(schema: DescMessage, depth: number): fc.Arbitrary<unknown> {
  if (depth <= 0) return fc.constant(create(schema));
  const fields = Object.fromEntries(
    schema.fields.map((field) => [
      field.localName,
      fc.option(anyOf(field, depth), { nil: undefined, freq: 2 }),
    ]),
  );
  return fc.record(fields).map((values) => {
    const given = Object.entries(values).filter(([, value]) => value !== undefined);
    return create(schema, Object.fromEntries(given));
  });
}

function scalarOf(type: ScalarType): fc.Arbitrary<unknown> {
  switch (type) {
    case ScalarType.STRING:
      return fc.constantFrom(...texts.map((text) => text.toWellFormed()));
    case ScalarType.BYTES:
      return fc.constantFrom(...texts.map((text) => Buffer.from(text)), Buffer.from([0xff, 0]));
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return fc.constantFrom(...longs);
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return fc.constantFrom(...longs.map((long) => BigInt.asUintN(64, long)));
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return fc.constantFrom(...unsigned);
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return fc.constantFrom(0, 1.5, -1, Number.NaN, Number.POSITIVE_INFINITY);
    default:
      return fc.constantFrom(...numbers);
  }
}
