import { expect, test } from "bun:test";
import { volumePaths } from "./volumes.ts";

test("volumePaths() are absolute and each once, without what the request mounts and the kernel's", () => {
  const volumes = [
    ...["/data", "/data/", "data", "//data/./x/..", "rel/dir", "/", "", "/nul\0"],
    ...[
      "/proc",
      "/proc/sys",
      "/sys",
      "/dev",
      "/dev/shm",
      "/development",
      "/mounted",
      "/mounted/below",
    ],
  ];
  expect(volumePaths(volumes, [{ containerPath: "/mounted/" }])).toEqual([
    "/data",
    "/rel/dir",
    "/development",
    "/mounted/below",
  ]);
});
