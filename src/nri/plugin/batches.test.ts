import { expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import { PodSandboxConfigSchema } from "../../gen/runtime/v1/api_pb.ts";
import { generateSandboxId } from "../../lib/id.ts";
import type { Sandbox } from "../../sandbox/sandbox.ts";
import type { NriDomain } from "../domain.ts";
import { batches } from "./batches.ts";

function sandbox(state: Sandbox["state"]): Sandbox {
  return {
    id: generateSandboxId(),
    config: create(PodSandboxConfigSchema, { annotations: { a: "x".repeat(1000) } }),
    handler: "",
    createdAtNs: 1n,
    bootId: "boot",
    state,
    ips: [],
    networkAttached: false,
    infra: undefined,
  };
}

const domain = (sandboxes: readonly Sandbox[]) =>
  ({
    stateDir: "/s",
    listSandboxes: () => sandboxes,
    listContainers: () => [],
  }) as never as NriDomain;

test("batches() cuts what is there into messages that fit, and leaves out what nobody knows of", () => {
  const known = Array.from({ length: 10 }, () => sandbox("ready"));
  const all = batches(domain([...known, sandbox("starting")]), 3000);
  expect(all.map(({ pods }) => pods?.length)).toEqual([2, 2, 2, 2, 2]);
  expect(all.flatMap(({ pods = [] }) => pods.map(({ id }) => id))).toEqual(
    known.map(({ id }) => id),
  );
  expect(batches(domain([]))).toEqual([{ pods: [], containers: [] }]);
  // One that is too large alone goes alone.
  expect(batches(domain(known.slice(0, 2)), 10)).toHaveLength(2);
});
