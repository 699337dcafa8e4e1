import { mkdirSync, readlinkSync, writeFileSync } from "node:fs";
import { MNT_DETACH, UMOUNT_NOFOLLOW, umount } from "../../../src/os/mount/mount.ts";
import { mountPointsBelow } from "../../../src/os/mount/mount-points.ts";
import { parts } from "../../parts/paths.ts";
import { run } from "../../parts/run.ts";
import { processes } from "../daemon.ts";
import { eventually } from "../eventually.ts";
import { findRunc } from "../run-spec.ts";

/** Whether Debian's newest containerd and crun are there to be compared with (CRIB_TEST_PEERS=1). */
export const hasPeers = process.env["CRIB_TEST_PEERS"] === "1";

export interface ContainerdOptions {
  /** Of the caller's making and removing: everything that it writes but its socket. */
  readonly dir: string;
  readonly socket: string;
  /** Directory of certs.d-style mirror files. */
  readonly registryConfigDir: string;
  /** An archive with images that it has from the beginning. */
  readonly archive: string;
}

/** Debian's newest containerd with the runc that crib has built in, and a bridge network, in the namespaces of a test file. */
export class Containerd implements AsyncDisposable {
  readonly socket: string;
  readonly #process: Bun.Subprocess;
  readonly #ctr: readonly string[];
  readonly #dir: string;

  private constructor({ dir, socket }: ContainerdOptions, process: Bun.Subprocess) {
    this.socket = socket;
    this.#dir = dir;
    this.#process = process;
    this.#ctr = [parts.peers.ctr, `--address=${socket}`, "--namespace=k8s.io"];
  }

  static async start(options: ContainerdOptions): Promise<Containerd> {
    const { dir } = options;
    mkdirSync(`${dir}/net.d`, { recursive: true });
    writeFileSync(`${dir}/net.d/10-bridge.conflist`, JSON.stringify(bridge(dir)));
    writeFileSync(`${dir}/config.toml`, configuration(options));
    const binaries = `${parts.peers.dir}/bin`;
    const child = Bun.spawn(
      ["setpriv", "--pdeathsig", "KILL", parts.peers.containerd, `--config=${dir}/config.toml`],
      {
        env: { PATH: `${binaries}:${process.env["PATH"]}` },
        stdio: ["ignore", "ignore", Bun.file(`${dir}/containerd.log`)],
      },
    );
    const containerd = new Containerd(options, child);
    await Promise.race([
      eventually(() => run([...containerd.#ctr, "version"]), 120_000),
      child.exited.then((code) => Promise.reject(new Error(`containerd ended with ${code}`))),
    ]);
    await run([...containerd.#ctr, "images", "import", "--local", options.archive]);
    return containerd;
  }

  /** Its containers go with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await eventually(async () => {
      const listed = await run([...this.#ctr, "tasks", "ls", "-q"]);
      const tasks = listed.split("\n").filter(Boolean);
      // A shim that leaves with its last task may not have returned that it has.
      for (const task of tasks) {
        await run([...this.#ctr, "tasks", "rm", "-f", task]).catch(() => {});
      }
      if (tasks.length > 0) throw new Error(`tasks of containerd are left: ${tasks}`);
    });
    this.#process.kill("SIGTERM");
    await this.#process.exited;
    // Of its pods: what a kubelet would have stopped.
    for (const { pid } of processes().filter((one) => isBelow(one.pid, this.#dir))) {
      process.kill(pid, "SIGKILL");
    }
    for (const path of mountPointsBelow(this.#dir).toReversed()) {
      umount(path, MNT_DETACH | UMOUNT_NOFOLLOW);
    }
  }
}

function configuration({ dir, socket, registryConfigDir }: ContainerdOptions): string {
  const text = JSON.stringify;
  const cri = (name: string) => `plugins.'io.containerd.cri.v1.${name}'`;
  const runtime = `${cri("runtime")}.containerd.runtimes.runc`;
  return `
version = 3
root = ${text(`${dir}/root`)}
state = ${text(`${dir}/state`)}
[grpc]
address = ${text(socket)}
[plugins.'io.containerd.internal.v1.opt']
path = ${text(`${dir}/opt`)}
[${cri("images")}.pinned_images]
sandbox = "registry.k8s.io/pause:3.10.1"
[${cri("images")}.registry]
config_path = ${text(registryConfigDir)}
[${cri("runtime")}]
# A score below its own takes a capability that not every test machine gives.
restrict_oom_score_adj = true
[${cri("runtime")}.cni]
bin_dirs = [${text(parts.peers.cniPlugins)}]
conf_dir = ${text(`${dir}/net.d`)}
[${runtime}]
runtime_type = "io.containerd.runc.v2"
[${runtime}.options]
BinaryName = ${text(findRunc())}
`;
}

function bridge(dir: string): object {
  const ranges = [[{ subnet: "10.77.0.0/24" }]];
  const ipam = {
    ...{ type: "host-local", ranges, routes: [{ dst: "0.0.0.0/0" }] },
    dataDir: `${dir}/addresses`,
  };
  const plugin = { type: "bridge", bridge: "peer0", isGateway: true, ipMasq: false, ipam };
  return { cniVersion: "1.0.0", name: "peer", plugins: [plugin] };
}

/** A shim works in the directory of its task. */
function isBelow(pid: number, dir: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/cwd`).startsWith(`${dir}/`);
  } catch {
    return false; // it has ended
  }
}
