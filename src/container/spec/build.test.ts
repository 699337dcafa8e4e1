import { describe, expect, test } from "bun:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  ContainerConfigSchema,
  NamespaceMode,
  PodSandboxConfigSchema,
} from "../../gen/runtime/v1/api_pb.ts";
import { generateSandboxId } from "../../lib/id.ts";
import { knownCapabilities } from "../../oci/known-capabilities.ts";
import { buildContainerSpec } from "./build.ts";
import { noCdiChanges } from "./device/cdi.ts";
import { noDevices } from "./device/resolve.ts";
import type { SpecHost } from "./host.ts";
import { buildInfraSpec } from "./infra.ts";
import type { ContainerSpecInput } from "./input.ts";
import { defaultSeccomp } from "./security/default-seccomp.ts";

const goldenDir = `${import.meta.dir}/../../../test/golden`;

/** Compares with test/golden/<name>.json, order included; UPDATE_GOLDEN=1 writes it, to be formatted by `bun run fix`. */
async function expectGolden(name: string, value: unknown): Promise<void> {
  const path = `${goldenDir}/${name}.json`;
  if (Bun.env["UPDATE_GOLDEN"] === "1") await Bun.write(path, JSON.stringify(value));
  const golden: unknown = await Bun.file(path).json();
  expect(value).toEqual(golden as never);
  expect(JSON.stringify(value)).toBe(JSON.stringify(golden));
}

const host: SpecHost = {
  arch: "x64",
  boundingCapabilities: new Set(knownCapabilities),
  oomScoreAdj: -999,
  cgroupVersion: 2,
  cgroupDelegation: true,
  swapAccounting: true,
  hugetlb: true,
  cpuThermalPaths: ["/sys/devices/system/cpu/cpu0/thermal_throttle"],
  apparmor: false,
  selinux: false,
  openFiles: { soft: 1024, hard: 524_288 },
  cdiSpecDirs: [],
  blockIoClasses: undefined,
};

const environment: ContainerSpecInput["environment"] = {
  sandboxId: generateSandboxId(),
  isReady: () => true,
  config: create(PodSandboxConfigSchema, {
    annotations: { "org.systemd.property.ExecStart": "x", "run.oci.handler": "krun" },
  }),
  handler: "",
  netns: "/run/crib/sandboxes/s/ns/net",
  ipcns: "/run/crib/sandboxes/s/ns/ipc",
  utsns: "/run/crib/sandboxes/s/ns/uts",
  userNamespace: undefined,
  podPidns: "/proc/4711/ns/pid",
  targetPidns: undefined,
  hostname: "pod-a",
  hostnamePath: "/run/crib/sandboxes/s/hostname",
  hostsPath: "/run/crib/sandboxes/s/hosts",
  resolvConfPath: "/run/crib/sandboxes/s/resolv.conf",
  netDevicesPath: "/run/crib/sandboxes/s/net-devices",
  shmPath: "/run/crib/sandboxes/s/shm",
};

function input(
  config: MessageInitShape<typeof ContainerConfigSchema>,
  more: Partial<ContainerSpecInput> = {},
): ContainerSpecInput {
  return {
    config: create(ContainerConfigSchema, config),
    image: {
      env: ["PATH=/bin", "A=from the image"],
      entrypoint: ["/entry"],
      cmd: ["default"],
      workingDir: "/srv",
    },
    rootfs: "/run/crib/containers/c/rootfs",
    user: { uid: 0, gid: 0, supplementalGroups: [0], home: "/root" },
    mounts: [],
    devices: noDevices,
    cdi: noCdiChanges,
    classes: {},
    seccomp: undefined,
    apparmorProfile: undefined,
    selinux: undefined,
    environment,
    annotations: { "io.kubernetes.cri.container-type": "container" },
    cgroupPath: "/kubepods/pod1/c",
    host,
    ...more,
  };
}

const kubelet: MessageInitShape<typeof ContainerConfigSchema> = {
  metadata: { name: "web", attempt: 0 },
  args: ["--port", "80"],
  envs: [
    { key: "A", value: Buffer.from("b") },
    { key: "KUBERNETES_PORT", value: Buffer.from("tcp://10.0.0.1:443") },
  ],
  labels: { "io.kubernetes.pod.name": "web" },
  annotations: { "io.kubernetes.container.hash": "1", "run.oci.seccomp_bpf_data": "x" },
  linux: {
    resources: {
      cpuShares: 102n,
      cpuQuota: 10_000n,
      cpuPeriod: 100_000n,
      memoryLimitInBytes: 128n << 20n,
      oomScoreAdj: 999n,
      hugepageLimits: [{ pageSize: "2MB", limit: 0n }],
      unified: { "memory.oom.group": "1" },
    },
    securityContext: {
      namespaceOptions: { pid: NamespaceMode.CONTAINER },
      runAsUser: { value: 1000n },
      readonlyRootfs: true,
      noNewPrivs: true,
      capabilities: { dropCapabilities: ["ALL"], addCapabilities: ["NET_BIND_SERVICE"] },
      maskedPaths: ["/proc/kcore"],
      readonlyPaths: ["/proc/sys"],
    },
  },
};

describe("buildContainerSpec() is as reviewed", () => {
  test("for a container of a kubelet", async () => {
    const mounts = [
      {
        destination: "/etc/hosts",
        source: "/var/lib/kubelet/pods/p/etc-hosts",
        propagation: "rprivate",
        options: ["rbind", "rprivate", "rw"],
      },
      {
        destination: "/data",
        source: "/srv/data",
        propagation: "rslave",
        options: ["rbind", "rslave", "ro"],
      },
    ] as const;
    const user = { uid: 1000, gid: 3000, supplementalGroups: [2000, 3000], home: "/" };
    await expectGolden("kubelet", buildContainerSpec(input(kubelet, { mounts, user })));
  });

  test("for a request that says nothing", async () => {
    await expectGolden("minimal", buildContainerSpec(input({})));
  });

  test("for a privileged container on cgroup v1 with the node's namespaces", async () => {
    const linux = {
      securityContext: { privileged: true, namespaceOptions: { pid: NamespaceMode.NODE } },
    };
    const onNode = {
      ...environment,
      config: create(PodSandboxConfigSchema, { linux: { securityContext: { privileged: true } } }),
      netns: undefined,
      ipcns: undefined,
      utsns: undefined,
      shmPath: undefined,
    };
    const v1: SpecHost = { ...host, cgroupVersion: 1, swapAccounting: false, hugetlb: false };
    const config = { linux, tty: true, command: ["sh"] };
    await expectGolden(
      "privileged",
      buildContainerSpec(input(config, { environment: onNode, host: v1 })),
    );
  });

  test("for the process that holds a pod's PID namespace", async () => {
    const spec = buildInfraSpec({
      environment,
      rootfs: "/run/crib/containers/i/rootfs",
      isMachine: false,
      pausePath: "/var/lib/crib/bin/pause",
      annotations: { "io.kubernetes.cri.container-type": "sandbox" },
      cgroupPath: "/kubepods/pod1/i",
      host,
    });
    await expectGolden("infra", { ...spec, linux: { ...spec.linux, seccomp: "default" } });
  });

  test("for seccomp's default profile", async () => {
    await expectGolden("seccomp", defaultSeccomp({ bounding: ["CAP_SYS_CHROOT"] }, "x64"));
  });
});

describe("buildContainerSpec()", () => {
  test("lets no label or annotation of a client near the OCI runtime", () => {
    const { annotations: _, labels: __, ...plain } = kubelet;
    const noise = Object.fromEntries(
      [
        "io.podman.x",
        "org.criu.y",
        "run.oci.z",
        "io.kubernetes.cri-o.UnifiedCgroup",
        "__proto__",
      ].map((key) => [key, "x".repeat(5000)]),
    );
    const noisy = { ...plain, annotations: noise, labels: noise };
    expect(JSON.stringify(buildContainerSpec(input(noisy)))).toBe(
      JSON.stringify(buildContainerSpec(input(plain))),
    );
  });

  test("has no privileged container in a sandbox that is not", () => {
    const linux = { securityContext: { privileged: true } };
    expect(() => buildContainerSpec(input({ linux }))).toThrow("not privileged");
  });

  test("has what CDI devices bring, over what the container says", () => {
    const node = { type: "c", major: 1, minor: 3, fileMode: 0o666, uid: 0, gid: 0 } as const;
    const mount = { destination: "/opt", type: "bind", source: "/opt/gpu", options: ["rbind"] };
    const rule = { allow: true, type: "c", major: 1, minor: 3, access: "rw" } as const;
    const cdi = {
      env: ["A=device", "GPU=a=b"],
      devices: { nodes: [{ ...node, path: "/dev/gpu" }], rules: [rule] },
      mounts: [mount],
      hooks: { createRuntime: [{ path: "/bin/true", env: ["PATH=/bin"] }] },
      additionalGids: [0, 44],
      netDevices: { eth9: { name: "lan" } },
      intelRdt: { closID: "gold" },
    };
    const spec = buildContainerSpec(input(kubelet, { cdi }));
    expect(spec.linux).toMatchObject({ netDevices: cdi.netDevices, intelRdt: cdi.intelRdt });
    const classes = { intelRdt: { closID: "silver" } };
    expect(() => buildContainerSpec(input(kubelet, { cdi, classes }))).toThrow("RDT class");
    expect(spec.process.env).toContain("A=device");
    expect(spec.process.env).toContain("GPU=a=b");
    expect(spec.process.user.additionalGids).toEqual([0, 44]);
    expect(spec.mounts).toContainEqual(mount);
    expect(spec.hooks).toEqual(cdi.hooks);
    expect(spec.linux.devices).toEqual(cdi.devices.nodes);
    expect(spec.linux.resources.devices?.at(-1)).toEqual(rule);
  });

  test("joins the PID namespace of the mode, and says what is missing", () => {
    const pid = (mode: NamespaceMode, more = {}) => {
      const linux = { securityContext: { namespaceOptions: { pid: mode } } };
      const spec = buildContainerSpec(
        input({ linux }, { environment: { ...environment, ...more } }),
      );
      return spec.linux.namespaces.find(({ type }) => type === "pid");
    };
    expect(pid(NamespaceMode.POD)).toEqual({ type: "pid", path: "/proc/4711/ns/pid" });
    expect(pid(NamespaceMode.CONTAINER)).toEqual({ type: "pid" });
    expect(pid(NamespaceMode.NODE)).toBeUndefined();
    expect(pid(NamespaceMode.TARGET, { targetPidns: "/proc/5/ns/pid" })?.path).toBe(
      "/proc/5/ns/pid",
    );
    expect(() => pid(NamespaceMode.TARGET)).toThrow("target container does not run");
    expect(() => pid(NamespaceMode.POD, { podPidns: undefined })).toThrow("does not run");
  });

  test("joins the pod's PID namespace when nothing is said, which may be the node's", () => {
    const inPod = (pid: NamespaceMode) => {
      const pod = { linux: { securityContext: { namespaceOptions: { pid } } } };
      const config = create(PodSandboxConfigSchema, pod);
      const spec = buildContainerSpec(input({}, { environment: { ...environment, config } }));
      return spec.linux.namespaces.find(({ type }) => type === "pid");
    };
    expect(inPod(NamespaceMode.POD)?.path).toBe("/proc/4711/ns/pid");
    expect(inPod(NamespaceMode.CONTAINER)?.path).toBe("/proc/4711/ns/pid");
    expect(inPod(NamespaceMode.NODE)).toBeUndefined();
  });
});
