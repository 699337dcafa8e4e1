import { expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import { recordOutput } from "../../../test/harness/recorded-output.ts";
import { LayerProgressSchema } from "../../gen/crib/admin/v1/admin_pb.ts";
import { formatBar, LayerBars } from "./layer-bars.ts";

const layer = (fetchedBytes: number, totalBytes: number) =>
  create(LayerProgressSchema, {
    digest: `sha256:${"0123456789abcdef".repeat(4)}`,
    fetchedBytes: BigInt(fetchedBytes),
    totalBytes: BigInt(totalBytes),
  });

test("formatBar() is as full as the layer, also for one of no bytes", () => {
  expect(formatBar(layer(0, 100))).toBe(`0123456789abc ${"╌".repeat(30)} 0 B of 100 B`);
  expect(formatBar(layer(50, 100))).toContain(`${"━".repeat(15)}${"╌".repeat(15)} 50 B of`);
  expect(formatBar(layer(100, 100))).toEndWith(`${"━".repeat(30)} 100 B`);
  expect(formatBar(layer(0, 0))).toEndWith(`${"━".repeat(30)} 0 B`);
});

test("LayerBars draws over what it has drawn, and takes it away in the end", () => {
  const { out, text } = recordOutput({ isTerminal: true });
  {
    using bars = new LayerBars(out);
    bars.draw([layer(1, 2), layer(0, 2)]);
    bars.draw([layer(2, 2), layer(2, 2)]);
  }
  expect(text.stderr.split("\x1b[3A\r\x1b[J").length).toBe(3);
  expect(text.stderr).toEndWith("\x1b[3A\r\x1b[J");
  expect(text.stderr).toContain("unpacking 4 B of 4 B");
});

test("LayerBars writes nothing where there is no terminal", () => {
  const { out, text } = recordOutput();
  using bars = new LayerBars(out);
  bars.draw([layer(1, 2)]);
  expect(text.stderr).toBe("");
});
