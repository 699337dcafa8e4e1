import { expect, test } from "bun:test";
import { isRegistryPrefix, withRegistries } from "./import-names.ts";

const digest = `sha256:${"0".repeat(64)}`;

test("withRegistries() gives an image the same path in each registry, and what it had first", () => {
  const names = {
    repoTags: ["docker.io/library/x:1", "ghcr.io/a/b:2"],
    repoDigests: [`docker.io/library/x@${digest}`],
  };
  expect(withRegistries(names, ["reg.site:5000", "hub.site/cache"])).toEqual({
    repoTags: [
      "docker.io/library/x:1",
      "ghcr.io/a/b:2",
      "reg.site:5000/library/x:1",
      "reg.site:5000/a/b:2",
      "hub.site/cache/library/x:1",
      "hub.site/cache/a/b:2",
    ],
    repoDigests: [
      `docker.io/library/x@${digest}`,
      `reg.site:5000/library/x@${digest}`,
      `hub.site/cache/library/x@${digest}`,
    ],
  });
  expect(withRegistries(names, [])).toEqual(names);
  expect(withRegistries(names, ["docker.io"]).repoTags).toContain("docker.io/a/b:2");
  expect(withRegistries({ repoTags: [], repoDigests: [] }, ["reg.site"]).repoTags).toEqual([]);
});

test("isRegistryPrefix() takes hosts, with a port and a path", () => {
  for (const good of ["reg.site", "localhost:5000", "reg.site:1/a/b", "docker.io"]) {
    expect(isRegistryPrefix(good)).toBe(true);
  }
  for (const bad of ["", "reg", "https://reg.site", "reg.site/", "reg.site/A", "a b.site", "/"]) {
    expect(isRegistryPrefix(bad)).toBe(false);
  }
});
