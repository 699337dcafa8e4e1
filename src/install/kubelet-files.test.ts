import { describe, expect, test } from "bun:test";
import { kubeletFiles, withExtraArgument, withFlagLine } from "./kubelet-files.ts";

const endpoint = "unix:///run/crib/crib.sock";
const argument = `--container-runtime-endpoint=${endpoint}`;

describe("withExtraArgument()", () => {
  test.each([
    ["", `KUBELET_EXTRA_ARGS="${argument}"\n`],
    ["KUBELET_EXTRA_ARGS=\n", `KUBELET_EXTRA_ARGS="${argument}"\n`],
    ["# mine\nA=1\n", `# mine\nA=1\nKUBELET_EXTRA_ARGS="${argument}"\n`],
    [
      'KUBELET_EXTRA_ARGS="--node-ip=10.0.0.1 --v=2"\nB=2',
      `KUBELET_EXTRA_ARGS="--node-ip=10.0.0.1 --v=2 ${argument}"\nB=2\n`,
    ],
    [
      "KUBELET_EXTRA_ARGS='--container-runtime-endpoint unix:///run/containerd/containerd.sock --v=2'",
      `KUBELET_EXTRA_ARGS="--v=2 ${argument}"\n`,
    ],
    [
      `KUBELET_EXTRA_ARGS='--node-labels="a=b"'`,
      `KUBELET_EXTRA_ARGS='--node-labels="a=b" ${argument}'\n`,
    ],
  ])("of %j keeps everything else", (before, after) => {
    expect(withExtraArgument(before, endpoint)).toBe(after);
    expect(withExtraArgument(after, endpoint)).toBe(after);
  });
});

test("withFlagLine() replaces the endpoint and keeps the other flags", () => {
  const before = "--v=2\n--container-runtime-endpoint=/var/snap/run/containerd.sock\n";
  expect(withFlagLine(before, endpoint)).toBe(`--v=2\n${argument}\n`);
});

describe("kubeletFiles()", () => {
  const pathsOn = (...found: readonly string[]) =>
    kubeletFiles({ has: (path) => found.includes(path), read: () => undefined }).map(
      ({ path }) => path,
    );

  test("of k3s and RKE2 also name where their networks are", () => {
    expect(pathsOn("/usr/local/bin/k3s", "/usr/bin/containerd")).toEqual([
      "/etc/rancher/k3s/config.yaml.d/50-crib.yaml",
      "/etc/crib/config.toml.d/50-k3s.toml",
    ]);
    expect(pathsOn("/etc/rancher/rke2", "/usr/bin/containerd")).toEqual([
      "/etc/rancher/rke2/config.yaml.d/50-crib.yaml",
      "/etc/crib/config.toml.d/50-rke2.toml",
    ]);
  });

  test("of a kubelet are the file that its distribution's unit reads", () => {
    const kubelet = ["/usr/bin/kubelet", "/usr/bin/containerd"];
    expect(pathsOn(...kubelet)).toEqual(["/etc/default/kubelet"]);
    expect(pathsOn(...kubelet, "/etc/sysconfig")).toEqual(["/etc/sysconfig/kubelet"]);
  });

  test("are crib's own only where no kubelet is", () => {
    expect(pathsOn()).toEqual(["/etc/crib/config.toml.d/50-kubelet.toml"]);
  });
});
