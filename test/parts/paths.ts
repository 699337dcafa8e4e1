import { join } from "node:path";

export const repositoryDir = join(import.meta.dir, "../..");

/** Where `setup.ts` puts everything that tests need and the repository does not hold. */
export const partsDir = join(repositoryDir, ".cache/parts");

const bin = (name: string): string => join(partsDir, "bin", name);

export const parts = {
  crictl: bin("crictl"),
  /** By release of cri-tools; to run specs in parallel, each wants the ginkgo command of its own version. */
  critest: {
    "1.36.0": { critest: bin("critest"), ginkgo: bin("ginkgo") },
    "1.37.0": { critest: bin("newest/critest"), ginkgo: bin("newest/ginkgo") },
  },
  kubelet: bin("kubelet"),
  /** Of the next release, before it is one; with CRIB_TEST_KUBELET_NEXT=1. */
  kubeletNext: bin("kubelet-next/kubelet"),
  /** containerd's shims, by what they run; runsc beside its own. gVisor's are there with CRIB_TEST_GVISOR=1. */
  shims: {
    runc: bin("shims/containerd-shim-runc-v2"),
    gvisor: bin("shims/containerd-shim-runsc-v1"),
    runsc: bin("shims/runsc"),
    /** Like Kata's, or as bad as a test wants it. */
    fake: bin("shims/fake"),
  },
  dockerRegistry: bin("docker-registry"),
  /** Scrapes a daemon's metrics; promtool has opinions on them. */
  prometheus: { server: bin("prometheus/prometheus"), promtool: bin("prometheus/promtool") },
  /** An NRI plugin that does what a test tells it. */
  nriPlugin: bin("nri-plugin"),
  /** Signs images as cosign does, with cosign's packages and virtual services of sigstore. */
  signing: bin("signing"),
  /** Takes traces over OTLP and prints their spans. */
  otlpReceiver: bin("otlp-receiver"),
  busybox: bin("busybox"),
  /** Debian's newest, by CRIB_TEST_PEERS=1. */
  peers: {
    dir: bin("peers"),
    containerd: bin("peers/bin/containerd"),
    ctr: bin("peers/bin/ctr"),
    crun: bin("peers/bin/crun"),
    cniPlugins: bin("peers/cni"),
  },
  /** Alone in its directory, but for what it needs. Absent where it could not be had. */
  criu: bin("criu/criu"),
  shellShim: bin("sh-shim"),
  nonewprivs: bin("nonewprivs"),
  pause: bin("pause"),
  getxattr: bin("getxattr"),
  facts: bin("facts"),
  watch: bin("watch"),
  /** Data directory of a docker-registry with all test images pushed. */
  registryData: join(partsDir, "registry"),
  /** What those of them that umoci made look like when it unpacks them. */
  trees: join(partsDir, "trees"),
} as const;
