/** bun test/guest/reboot.ts [--crib FILE]: a node loses its power with pods running, and boots again. */

import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { makeDataDisk } from "./disks.ts";
import { type GuestResult, runGuest } from "./guest.ts";
import { guestCache } from "./packages.ts";

export interface Reboot {
  readonly before: GuestResult;
  readonly after: GuestResult;
  /** What either node has left in /run/results. */
  readonly beforeDir: string;
  readonly afterDir: string;
}

export interface RebootOptions {
  readonly crib?: string;
  readonly outDir?: string;
  readonly progress?: (line: string) => void;
}

const timeoutMs = 20 * 60_000;

const cgroup = (name: string) => ({ cgroup_parent: `/kubepods/besteffort/pod-${name}` });

const pod = (name: string, more: object = {}) => ({
  metadata: { name, namespace: "guest", uid: `uid-${name}`, attempt: 0 },
  hostname: name,
  // Logs outlive a reboot, as a kubelet's do.
  log_directory: `/var/lib/logs/${name}`,
  linux: { ...cgroup(name), security_context: { namespace_options: { pid: 1 } } },
  ...more,
});

const container = (name: string, image: string, command: readonly string[]) => ({
  metadata: { name, attempt: 0 },
  image: { image: `registry.k8s.io/${image}` },
  command,
  log_path: `${name}.log`,
  linux: { security_context: { namespace_options: { pid: 1 } } },
});

const busybox = "e2e-test-images/busybox:1.29-2";
const debian = "crib-test/debian";

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
  "pod-shared.json": pod("shared", {
    linux: cgroup("shared"),
    port_mappings: [{ protocol: 0, container_port: 80, host_port: 18080 }],
  }),
  "pod-stopped.json": pod("stopped"),
  "container-sleeper.json": container("sleeper", busybox, ["sleep", "100000"]),
  "container-created.json": container("created", busybox, ["sleep", "100000"]),
  "container-done.json": container("done", busybox, ["sh", "-c", "echo done; exit 7"]),
  "container-web.json": {
    ...container("web", "e2e-test-images/nginx:1.14-2", []),
    linux: {},
  },
  "container-sums.json": container("sums", `${debian}:base`, [
    "sh",
    "-c",
    "find /usr /var /lib -xdev -type f | sort | xargs sha256sum | sha256sum",
  ]),
  "container-tools.json": container("tools", `${debian}:tools`, ["sh", "-c", "ls /usr | wc -l"]),
};

export async function reboot(options: RebootOptions = {}): Promise<Reboot> {
  const outDir = options.outDir ?? join(guestCache, "reboot");
  const dir = await mkdtemp("/var/tmp/guest-");
  await using undo = new AsyncDisposableStack();
  undo.defer(() => rm(dir, { recursive: true, force: true }));
  const dataDisk = join(dir, "data.img");
  await makeDataDisk(dataDisk);
  const texts = Object.entries(files).map(
    ([name, value]) => [name, JSON.stringify(value)] as const,
  );
  const boot = async (script: string, out: string): Promise<GuestResult> =>
    await runGuest({
      script: await scriptText(script),
      files: { ...Object.fromEntries(texts), "pods.sh": await scriptText("pods.sh") },
      dataDisk,
      outDir: out,
      timeoutMs,
      ...(options.crib === undefined ? {} : { crib: options.crib }),
      ...(options.progress === undefined ? {} : { progress: options.progress }),
    });
  const beforeDir = join(outDir, "before");
  const afterDir = join(outDir, "after");
  const before = await boot("before-power-cut.sh", beforeDir);
  const after = await boot("after-power-cut.sh", afterDir);
  return { before, after, beforeDir, afterDir };
}

async function scriptText(name: string): Promise<string> {
  return await Bun.file(join(import.meta.dir, "scripts", name)).text();
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { crib: { type: "string" } } });
  const { before, after } = await reboot({
    ...(values.crib === undefined ? {} : { crib: values.crib }),
    progress: (line) => console.log(line),
  });
  console.log({ before, after });
}
