import { expect, test } from "bun:test";
import { image } from "../../../test/harness/cri-domain.ts";
import { pinnedBy } from "./pinned.ts";

const cases: readonly [pattern: string, name: string, pinned: boolean][] = [
  ["r.example/a:1", "r.example/a:1", true],
  ["r.example/a:1", "r.example/a:10", false],
  ["r.example/*", "r.example/a/b:1", true],
  ["r.example/*", "s.r.example/a:1", false],
  ["*:stable", "r.example/a:stable", true],
  ["*/base/*:1", "r.example/base/x:1", true],
  ["*/base/*:1", "r.example/base:1", false],
  ["a*a", "a", false],
  ["*", "anything:1", true],
  ["r.example/.*", "r.example/x:1", false],
  [`${"*a".repeat(50)}`, "a".repeat(49), false],
];

for (const [pattern, name, pinned] of cases) {
  test(`pinnedBy(${pattern.slice(0, 20)}) ${pinned ? "takes" : "leaves"} ${name.slice(0, 30)}`, () => {
    expect(pinnedBy([pattern])(image({ repoTags: [name], repoDigests: [] }))).toBe(pinned);
  });
}

test("pinnedBy() keeps what is pinned already, and matches digests too", () => {
  expect(pinnedBy([])(image({ pinned: true }))).toBe(true);
  expect(pinnedBy([])(image())).toBe(false);
  expect(pinnedBy(["registry.example/nginx@*"])(image({ repoTags: [] }))).toBe(true);
});
