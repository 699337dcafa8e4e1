import { expect, test } from "bun:test";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { ContainerSchema, StreamContainersResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import { encodeItem, inBatches } from "./encoded.ts";

const schema = StreamContainersResponseSchema;

function batches(count: number, labelBytes: number) {
  const label = "x".repeat(labelBytes);
  const items = Array.from({ length: count }, (_, i) =>
    encodeItem(ContainerSchema, { id: `c${i}`, labels: { label } }),
  );
  const messages = [...inBatches(schema, schema.field.containers.number, items)].map((message) =>
    toBinary(schema, message),
  );
  return {
    sizes: messages.map(({ byteLength }) => byteLength),
    ids: messages.map((bytes) => fromBinary(schema, bytes).containers.map(({ id }) => id)),
  };
}

test("a streamed list comes in as few messages as fit", () => {
  expect(batches(0, 0).ids).toEqual([]);
  expect(batches(3, 10).ids).toEqual([["c0", "c1", "c2"]]);
});

test("a message is bounded in items and in bytes, and nothing is lost or changes its place", () => {
  const many = batches(2500, 10);
  expect(many.ids.map(({ length }) => length)).toEqual([1000, 1000, 500]);
  expect(many.ids.flat()).toEqual(Array.from({ length: 2500 }, (_, i) => `c${i}`));
  const large = batches(10, 300_000);
  expect(Math.max(...large.sizes)).toBeLessThan(2 << 20);
  expect(large.ids.flat()).toHaveLength(10);
});

test("an item larger than a message should be goes alone", () => {
  expect(batches(3, 2 << 20).ids).toEqual([["c0"], ["c1"], ["c2"]]);
});
