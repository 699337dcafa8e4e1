import { join } from "node:path";

export const repositoryDir = join(import.meta.dir, "../..");

/** Where `setup.ts` puts everything that tests need and the repository does not hold. */
export const partsDir = join(repositoryDir, ".cache/parts");

const bin = (name: string): string => join(partsDir, "bin", name);

export const parts = {
  crictl: bin("crictl"),
  critest: bin("critest"),
  ginkgo: bin("ginkgo"),
  dockerRegistry: bin("docker-registry"),
  /** An NRI plugin that does what a test tells it. */
  nriPlugin: bin("nri-plugin"),
  busybox: bin("busybox"),
  shellShim: bin("sh-shim"),
  nonewprivs: bin("nonewprivs"),
  pause: bin("pause"),
  getxattr: bin("getxattr"),
  /** Data directory of a docker-registry with all test images pushed. */
  registryData: join(partsDir, "registry"),
} as const;
