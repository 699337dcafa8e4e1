import { expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import { LayerProgressSchema } from "../gen/crib/admin/v1/admin_pb.ts";
import { formatBar, LayerBars } from "./layer-bars.ts";
import type { Output } from "./output.ts";

const layer = (fetchedBytes: number, totalBytes: number) =>
  create(LayerProgressSchema, {
    digest: `sha256:${"0123456789abcdef".repeat(4)}`,
    fetchedBytes: BigInt(fetchedBytes),
    totalBytes: BigInt(totalBytes),
  });

function output(canRedraw: boolean) {
  let written = "";
  const out: Output = {
    isTerminal: false,
    canRedraw,
    write: () => {},
    writeError: (data) => {
      written += String(data);
    },
    paint: (_style, text) => text,
  };
  return { out, written: () => written };
}

test("formatBar() is as full as the layer, also for one of no bytes", () => {
  expect(formatBar(layer(0, 100))).toBe(`0123456789abc ${"╌".repeat(30)} 0 B of 100 B`);
  expect(formatBar(layer(50, 100))).toContain(`${"━".repeat(15)}${"╌".repeat(15)} 50 B of`);
  expect(formatBar(layer(100, 100))).toEndWith(`${"━".repeat(30)} 100 B`);
  expect(formatBar(layer(0, 0))).toEndWith(`${"━".repeat(30)} 0 B`);
});

test("LayerBars draws over what it has drawn, and takes it away in the end", () => {
  const { out, written } = output(true);
  {
    using bars = new LayerBars(out);
    bars.draw([layer(1, 2), layer(0, 2)]);
    bars.draw([layer(2, 2), layer(2, 2)]);
  }
  expect(written().split("\x1b[3A\r\x1b[J").length).toBe(3);
  expect(written()).toEndWith("\x1b[3A\r\x1b[J");
  expect(written()).toContain("unpacking 4 B of 4 B");
});

test("LayerBars writes nothing where there is no terminal", () => {
  const { out, written } = output(false);
  using bars = new LayerBars(out);
  bars.draw([layer(1, 2)]);
  expect(written()).toBe("");
});
