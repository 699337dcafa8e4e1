import { expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import { ContainerConfigSchema, PodSandboxConfigSchema } from "../../gen/runtime/v1/api_pb.ts";
import { generateSandboxId } from "../../lib/id.ts";
import {
  containerAnnotations,
  infraAnnotations,
  noPatterns,
  parseKeyPattern,
} from "./annotations.ts";

// What Go's path.Match returns for them.
const cases: readonly (readonly [pattern: string, key: string, matches: boolean])[] = [
  ["run.oci.handler", "run.oci.handler", true],
  ["run.oci.handler", "runxoci.handler", false],
  ["run.oci.*", "run.oci.handler", true],
  ["run.oci.*", "run.oci.", true],
  ["run.oci.*", "run.oci.a/b", false],
  ["io.katacontainers.*", "io.katacontainers.config.hypervisor.default_memory", true],
  ["*.example.com/*", "gpu.example.com/count", true],
  ["*", "a/b", false],
  ["*/*", "a/b", true],
  ["a?c", "abc", true],
  ["a?c", "a/c", false],
  ["[a-c]x", "bx", true],
  ["[^a-c]x", "bx", false],
  ["[^a-c]x", "dx", true],
  ["\\*", "*", true],
  ["\\*", "a", false],
  ["a[\\]]b", "a]b", true],
  ["(a|b)", "a", false],
];

for (const [pattern, key, matches] of cases) {
  test(`parseKeyPattern(${pattern}) ${matches ? "matches" : "does not match"} ${key}`, () => {
    expect(parseKeyPattern(pattern)?.test(key)).toBe(matches);
  });
}

test("parseKeyPattern() refuses what path.Match calls a bad pattern", () => {
  for (const pattern of ["[", "[a", "a\\", "[]", "[z-a]"]) {
    expect([pattern, parseKeyPattern(pattern)]).toEqual([pattern, undefined]);
  }
});

const pod = {
  sandboxId: generateSandboxId(),
  config: create(PodSandboxConfigSchema, {
    metadata: { name: "web-0", namespace: "shop", uid: "u-1", attempt: 0 },
    logDirectory: "/var/log/pods/shop_web-0_u-1",
    annotations: {
      "run.oci.handler": "krun",
      "io.kubernetes.cri.sandbox-id": "another",
      other: "x",
    },
  }),
};
const container = {
  imageName: "docker.io/library/nginx:1",
  config: create(ContainerConfigSchema, {
    metadata: { name: "nginx", attempt: 0 },
    annotations: { "run.oci.handler": "wasm", __proto__: "y" },
  }),
};
const own = {
  "io.kubernetes.cri.sandbox-id": pod.sandboxId,
  "io.kubernetes.cri.sandbox-name": "web-0",
  "io.kubernetes.cri.sandbox-namespace": "shop",
  "io.kubernetes.cri.sandbox-uid": "u-1",
  "io.kubernetes.cri.sandbox-log-directory": "/var/log/pods/shop_web-0_u-1",
};

test("containerAnnotations() says what the container is, and nothing of a client unless it is let through", () => {
  expect(containerAnnotations(pod, container, noPatterns)).toEqual({
    ...own,
    "io.kubernetes.cri.container-type": "container",
    "io.kubernetes.cri.container-name": "nginx",
    "io.kubernetes.cri.image-name": "docker.io/library/nginx:1",
  });
});

test("containerAnnotations() lets keys through, the container's over the pod's and its own over both", () => {
  const passed = containerAnnotations(pod, container, { pod: ["*"], container: ["run.*"] });
  expect(passed).toMatchObject({ ...own, "run.oci.handler": "wasm", other: "x" });
  const podOnly = containerAnnotations(pod, container, { pod: ["run.*"], container: [] });
  expect(podOnly).toMatchObject({ ...own, "run.oci.handler": "krun" });
  expect(podOnly).not.toHaveProperty("other");
});

test("infraAnnotations() is of type sandbox", () => {
  expect(infraAnnotations(pod, noPatterns)).toEqual({
    ...own,
    "io.kubernetes.cri.container-type": "sandbox",
  });
});
