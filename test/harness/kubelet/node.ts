import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { run } from "../../parts/run.ts";

/** Of the node of `makeNode`, as pods see it. */
export const nodeAddress = "198.51.100.1";

/** Where a kubelet's cAdvisor looks for containerd, in the mount namespace of the test. */
export const cadvisorSocket = "/run/containerd/containerd.sock";

/** What a kubelet sets for all of a machine, with the values that it wants. */
const tunables = {
  "vm/overcommit_memory": 1,
  "vm/panic_on_oom": 0,
  "kernel/panic": 10,
  "kernel/panic_on_oops": 1,
  "kernel/keys/root_maxkeys": 1_000_000,
  "kernel/keys/root_maxbytes": 25_000_000,
} as const;

export interface Node extends Disposable {
  /** Below which the kubelet makes its cgroups. */
  readonly cgroupRoot: string;
  /** What a command is started with that has to find the machine as it wants it, and must not change it. */
  readonly kubeletArgv: readonly string[];
}

/**
 * Makes the namespaces of a test file (see `inOwnNetwork`) what a kubelet takes for a node: mounts that are shared, a
 * /var/log and a /run/containerd of its own, an address and a default route. What belongs to all of the machine is left as it is.
 */
export async function makeNode(dir: string): Promise<Node> {
  mkdirSync(`${dir}/log`);
  mkdirSync(`${dir}/tunables`);
  mkdirSync(`${dir}/containerd`);
  mkdirSync(dirname(cadvisorSocket), { recursive: true });
  const masks = Object.entries(tunables).map(([name, value]) => {
    const file = `${dir}/tunables/${name.replaceAll("/", ".")}`;
    writeFileSync(file, `${value}\n`);
    return `mount --bind ${file} /proc/sys/${name}`;
  });
  const setUp = [
    "mount --make-rshared /",
    `mount --bind ${dir}/log /var/log`,
    `mount --bind ${dir}/containerd ${dirname(cadvisorSocket)}`,
    "ip link add node0 type veth peer name node1",
    `ip address add ${nodeAddress}/24 dev node0`,
    "ip link set node0 up",
    "ip link set node1 up",
    "ip route add default dev node0",
  ];
  await run(["sh", "-ec", setUp.join("\n")]);
  const cgroupRoot = `/crib-kubelet-${process.pid}`;
  const made = hierarchies().map((root) => makeCgroup(root, cgroupRoot));
  // Its mounts are seen outside, those over /proc are not.
  const script = ["mount --make-rprivate /proc", ...masks, 'exec "$@"'].join(" && ");
  return {
    cgroupRoot,
    kubeletArgv: ["unshare", "--mount", "--propagation=unchanged", "sh", "-c", script, "kubelet"],
    [Symbol.dispose]() {
      for (const path of made) removeCgroups(path);
    },
  };
}

const cgroups = "/sys/fs/cgroup";
const isUnified = existsSync(`${cgroups}/cgroup.controllers`);

/** Cgroups below `cgroupRoot` whose path has this in it. */
export function cgroupsOf(node: Node, part: string): readonly string[] {
  return hierarchies()
    .flatMap((root) => tree(`${root}${node.cgroupRoot}`))
    .filter((path) => path.includes(part));
}

function hierarchies(): readonly string[] {
  if (isUnified) return [cgroups];
  return readdirSync(cgroups).map((name) => `${cgroups}/${name}`);
}

function makeCgroup(root: string, name: string): string {
  if (isUnified) {
    const all = readFileSync(`${root}/cgroup.controllers`, "utf8").trim().split(" ");
    writeFileSync(`${root}/cgroup.subtree_control`, all.map((one) => `+${one}`).join(" "));
  }
  const path = `${root}${name}`;
  mkdirSync(path);
  for (const file of ["cpuset.cpus", "cpuset.mems"].filter(() => root.endsWith("/cpuset"))) {
    writeFileSync(`${path}/${file}`, readFileSync(`${root}/${file}`));
  }
  return path;
}

function removeCgroups(path: string): void {
  for (const one of tree(path).toReversed()) rmdirSync(one);
}

/** Parents first. */
function tree(path: string): readonly string[] {
  if (!existsSync(path)) return [];
  const children = readdirSync(path, { withFileTypes: true }).filter((one) => one.isDirectory());
  return [path, ...children.flatMap(({ name }) => tree(`${path}/${name}`))];
}
