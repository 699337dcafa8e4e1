/** Pods and containers as crictl takes them, for the scripts in /run/guest. */

const busybox = "e2e-test-images/busybox:1.29-2";
const debian = "crib-test/debian";
/** NamespaceMode of CRI by name. */
const pid = { pod: 0, container: 1, node: 2 } as const;

interface PodOptions {
  readonly pid?: number;
  readonly parent?: string;
  readonly hostPort?: number;
}

function pod(name: string, options: PodOptions = {}): object {
  const parent = options.parent ?? "/kubepods/besteffort";
  return {
    metadata: { name, namespace: "guest", uid: `uid-${name}`, attempt: 0 },
    hostname: name,
    // Logs outlive a reboot, as a kubelet's do.
    log_directory: `/var/lib/logs/${name}`,
    linux: {
      cgroup_parent: `${parent}/pod-${name}`,
      security_context: { namespace_options: { pid: options.pid ?? pid.container } },
    },
    ...(options.hostPort === undefined
      ? {}
      : { port_mappings: [{ protocol: 0, container_port: 80, host_port: options.hostPort }] }),
  };
}

interface ContainerOptions {
  readonly image?: string;
  readonly pid?: number;
  readonly resources?: object;
}

function container(name: string, command: readonly string[], options: ContainerOptions = {}) {
  return {
    metadata: { name, attempt: 0 },
    image: { image: `registry.k8s.io/${options.image ?? busybox}` },
    command,
    log_path: `${name}.log`,
    linux: {
      resources: options.resources ?? {},
      security_context: { namespace_options: { pid: options.pid ?? pid.container } },
    },
  };
}

const shell = (script: string) => ["sh", "-c", script] as const;
const sleeper = ["sleep", "100000"] as const;
const burstable = { parent: "/kubepods/burstable" };
const small = { memory_limit_in_bytes: 20 << 20, memory_swap_limit_in_bytes: 20 << 20 };
const big = ["dd", "if=/dev/zero", "of=/dev/null", "bs=40M", "count=1"] as const;

const files: Readonly<Record<string, unknown>> = {
  "network.conflist": {
    cniVersion: "1.1.0",
    name: "guest",
    plugins: [
      {
        type: "record-bridge",
        bridge: "guest0",
        isGateway: true,
        ipMasq: true,
        ipam: {
          type: "host-local",
          ranges: [[{ subnet: "10.99.0.0/24" }]],
          routes: [{ dst: "0.0.0.0/0" }],
        },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  },
  "pod-steady.json": pod("steady"),
  // Its PID namespace is shared, so that it has a first process of its own.
  "pod-shared.json": pod("shared", { pid: pid.pod, hostPort: 18080 }),
  "pod-stopped.json": pod("stopped"),
  "pod-own.json": pod("own", burstable),
  "pod-host.json": pod("host", { ...burstable, pid: pid.node }),
  "container-sleeper.json": container("sleeper", sleeper),
  "container-created.json": container("created", sleeper),
  "container-done.json": container("done", shell("echo done; exit 7")),
  "container-ticker.json": container("ticker", shell("while :; do echo tick; sleep 0.2; done")),
  "container-web.json": container("web", [], {
    image: "e2e-test-images/nginx:1.14-2",
    pid: pid.pod,
  }),
  "container-sums.json": container(
    "sums",
    shell("find /usr /var /lib -xdev -type f | sort | xargs sha256sum | sha256sum"),
    { image: `${debian}:base` },
  ),
  "container-tools.json": container("tools", shell("ls /usr | wc -l"), {
    image: `${debian}:tools`,
  }),
  "container-limits.json": container("limits", sleeper, {
    resources: {
      cpu_period: 100_000,
      cpu_quota: 50_000,
      cpu_shares: 512,
      cpuset_cpus: "0",
      memory_limit_in_bytes: 64 << 20,
      unified: { "memory.high": String(60 << 20), "pids.max": "50" },
    },
  }),
  "container-child-too-big.json": container("child-too-big", shell(`${big.join(" ")}; exit 3`), {
    resources: small,
  }),
  "container-too-big.json": container("too-big", big, { resources: small }),
  "container-forks.json": container(
    "forks",
    shell("for i in 1 2 3; do setsid sleep 6000 & done; exec sleep 6000"),
    { pid: pid.node },
  ),
};

/** As `runGuest` wants them. */
export function podFiles(): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(files).map(([name, value]) => [name, JSON.stringify(value)]),
  );
}
