import { expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import * as pb from "../../gen/runtime/v1/api_pb.ts";
import { toGoJson } from "./go-json.ts";

test("toGoJson() writes what Go's encoding/json does for a message of CRI", () => {
  const config = create(pb.ContainerConfigSchema, {
    metadata: { name: "web" },
    image: { image: "nginx", userSpecifiedImage: "nginx:1" },
    envs: [{ key: "A", value: Buffer.from("b") }, { key: "EMPTY" }],
    labels: { app: "web" },
    tty: true,
    linux: {
      resources: {
        memoryLimitInBytes: 64n << 20n,
        oomScoreAdj: -998n,
        unified: { "memory.high": "1" },
      },
      securityContext: {
        runAsUser: { value: 0n },
        namespaceOptions: { pid: pb.NamespaceMode.CONTAINER },
      },
    },
  });
  expect(toGoJson(pb.ContainerConfigSchema, config)).toEqual({
    metadata: { name: "web" },
    image: { image: "nginx", user_specified_image: "nginx:1" },
    envs: [{ key: "A", value: "Yg==" }, { key: "EMPTY" }],
    labels: { app: "web" },
    tty: true,
    linux: {
      resources: {
        ...{ memory_limit_in_bytes: 67_108_864, oom_score_adj: -998 },
        unified: { "memory.high": "1" },
      },
      security_context: { run_as_user: {}, namespace_options: { pid: 1 } },
    },
  });
});
