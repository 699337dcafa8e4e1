import { expect, test } from "bun:test";
import { chainIdsOf } from "./chain-id.ts";
import { digestOf } from "./digest.ts";
import { parseImageConfig } from "./image-config.ts";

const parse = (value: unknown) => parseImageConfig(Buffer.from(JSON.stringify(value)));

test("parseImageConfig() reads what containers need", () => {
  const diffId = digestOf("layer");
  const config = parse({
    architecture: "amd64",
    os: "linux",
    created: "2026-01-02T03:04:05Z",
    config: {
      User: "1000:www",
      Env: ["PATH=/bin", "A=B=C", "NOVALUE", "=x", "EMPTY="],
      Entrypoint: ["/e"],
      Cmd: null,
      WorkingDir: "/w",
      StopSignal: "SIGTERM",
      Labels: { a: "b", constructor: "c" },
      Volumes: { "/v": {} },
      ExposedPorts: { "80/tcp": {} },
    },
    rootfs: { type: "layers", diff_ids: [diffId] },
  });
  expect(config).toMatchObject({
    user: "1000:www",
    env: ["PATH=/bin", "A=B=C", "EMPTY="],
    entrypoint: ["/e"],
    cmd: [],
    workingDir: "/w",
    stopSignal: "SIGTERM",
    volumes: ["/v"],
    exposedPorts: ["80/tcp"],
    diffIds: [diffId],
  });
  expect(config.labels["constructor"]).toBe("c");
  expect(config.labels["toString"]).toBeUndefined();
});

test("parseImageConfig() takes an image that says nothing", () => {
  expect(parse({ rootfs: { diff_ids: null } })).toMatchObject({ user: "", env: [], diffIds: [] });
});

test.each([
  {},
  { rootfs: { diff_ids: ["x"] } },
  { rootfs: { diff_ids: [] }, config: [] },
  { rootfs: { diff_ids: [] }, config: { Env: "A=1" } },
  { rootfs: { diff_ids: [] }, config: { Env: ["A=\0"] } },
  { rootfs: { diff_ids: [] }, config: { Labels: { a: 1 } } },
])("parseImageConfig() refuses %j", (value) => {
  expect(() => parse(value)).toThrow(/image config|digest/);
});

test("chainIdsOf() follows the specification", () => {
  const [a, b] = [digestOf("a"), digestOf("b")];
  expect<readonly string[]>(chainIdsOf([a, b])).toEqual([a, digestOf(`${a} ${b}`)]);
  expect(chainIdsOf([])).toEqual([]);
});
