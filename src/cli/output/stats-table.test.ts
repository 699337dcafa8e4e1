import { expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { StatsTable } from "./stats-table.ts";

const second = 1_000_000_000n;

function pod(name: string, at: bigint, cpu: bigint, available = 0n): pb.PodSandboxStats {
  const value = (bytes: bigint) => ({ value: bytes });
  return create(pb.PodSandboxStatsSchema, {
    attributes: { id: name, metadata: { name } },
    linux: {
      process: { processCount: value(7n) },
      network: { defaultInterface: { rxBytes: value(2_000_000n), txBytes: value(512n) } },
      containers: [
        {
          attributes: { id: `${name}-1`, metadata: { name: "app" } },
          cpu: { timestamp: at, usageCoreNanoSeconds: value(cpu) },
          memory: { workingSetBytes: value(24_000_000n), availableBytes: value(available) },
          writableLayer: { usedBytes: value(0n) },
        },
        { attributes: { id: `${name}-2`, metadata: { name: "ended" } } },
      ],
    },
  });
}

const cells = (line = "") => line.trim().split(/ {2,}/);

test("StatsTable shows CPU as what was used since the response before, in cores", () => {
  const table = new StatsTable();
  const first = table.next([pod("web", second, 0n), pod("db", second, 0n)]);
  expect(first.map((line) => cells(line).slice(0, 3))).toEqual([
    ["NAME", "POD", "CPU %"],
    ["app", "db", "-"],
    ["app", "web", "-"],
  ]);
  const later = [pod("web", 3n * second, 3n * second, 40_000_000n), pod("new", 3n * second, 9n)];
  expect(table.next(later).slice(1).map(cells)).toEqual([
    ["app", "new", "-", "24 MB", "-", "0 B", "7", "2.0 MB", "512 B"],
    ["app", "web", "150.0", "24 MB", "64 MB", "0 B", "7", "2.0 MB", "512 B"],
  ]);
});

test("StatsTable keeps its columns where they are when numbers grow", () => {
  const table = new StatsTable();
  const [, small = ""] = table.next([pod("web", second, 0n)]);
  const [, large = ""] = table.next([pod("web", 2n * second, 99n * second, 1n << 40n)]);
  expect(large.length).toBe(small.length);
});
