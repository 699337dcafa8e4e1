import { expect, test } from "bun:test";
import { parseDigest } from "./digest.ts";
import { formatReference, parseReference, repoDigest, repoTag } from "./reference.ts";

const hex = "9700f9a2f5bf2c45f2f605a0bd3bce7cf37420ec9d3ed50ac2758413308766bf";
const digest = parseDigest(`sha256:${hex}`);

test.each([
  ["busybox", "docker.io/library/busybox:latest"],
  ["busybox:1.37", "docker.io/library/busybox:1.37"],
  ["index.docker.io/busybox", "docker.io/library/busybox:latest"],
  ["user/app", "docker.io/user/app:latest"],
  ["registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"],
  ["localhost/x", "localhost/x:latest"],
  ["localhost:5000/a/b_c__d-e---f.g:T_1.2-3", "localhost:5000/a/b_c__d-e---f.g:T_1.2-3"],
  ["[::1]:5000/x", "[::1]:5000/x:latest"],
  [`gcr.io/a/b@${digest}`, `gcr.io/a/b@${digest}`],
  [`gcr.io/a/b:tag@${digest}`, `gcr.io/a/b@${digest}`],
])("parseReference() reads %s", (text, formatted) => {
  const reference = parseReference(text);
  expect(formatReference(reference)).toBe(formatted);
  expect(parseReference(formatted)).toEqual(reference);
});

test.each([
  "",
  ":tag",
  "/x",
  "x/",
  "a//b",
  "Upper",
  "gcr.io/Upper",
  "a_-b",
  "x:",
  "x:-t",
  `x:${"t".repeat(129)}`,
  "x@sha256:abc",
  `x@${digest}@${digest}`,
  hex,
  "gcr.io/../x",
  "gcr.io/x?y",
  "gcr.io/x y",
  "user:pass@gcr.io/x",
  "gcr.io:999999/x",
  "https://gcr.io/x",
  "-x.io/a",
  `${"a/".repeat(200)}a`,
  "\ud800",
])("parseReference() refuses %p", (text) => {
  expect(() => parseReference(text)).toThrow(/^image reference/);
});

test("parseReference() takes no time for hostile text", () => {
  const started = performance.now();
  for (const unit of ["a", "a-", "a.", "a_", "a__", "-", "a.b-"]) {
    for (const tail of ["", "!", "/", ":", "@"]) {
      try {
        parseReference(unit.repeat(1_000_000) + tail);
      } catch {}
      try {
        parseReference(unit.repeat(1024 / unit.length - 1) + tail);
      } catch {}
    }
  }
  expect(performance.now() - started).toBeLessThan(5000);
});

test("repoTag() and repoDigest() name the image as it was asked for", () => {
  const reference = parseReference("k8s.gcr.io/pause:3.9");
  expect(repoTag(reference)).toBe("k8s.gcr.io/pause:3.9");
  expect(repoDigest(reference, digest)).toBe(`k8s.gcr.io/pause@${digest}`);
  expect(repoTag(parseReference(`k8s.gcr.io/pause@${digest}`))).toBeUndefined();
});
