import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { type Cri, connectCri } from "../test/harness/cri.ts";
import { Daemon } from "../test/harness/daemon.ts";
import { startRegistry, writeMirrors } from "../test/harness/registry-server.ts";
import { processesOf } from "./process.ts";

export const image = "registry.k8s.io/e2e-test-images/busybox:1.29-2";

export interface Runtime {
  readonly name: string;
  readonly cri: Cri;
  /** Its daemon and the processes that stay for containers. */
  readonly processes: () => readonly number[];
}

export interface Runtimes extends AsyncDisposable {
  readonly daemon: Daemon;
  /** crib is the first. */
  readonly all: readonly Runtime[];
  readonly logDirectory: string;
}

/**
 * `dist/crib` with an image from a registry on this machine, and the peers that were named as `NAME=SOCKET`, whose
 * processes are those with `NAME` in their command line. A peer needs a network and mirrors of its own.
 */
export async function openRuntimes(peers: readonly string[]): Promise<Runtimes> {
  await using resources = new AsyncDisposableStack();
  const dir = mkdtempSync("/tmp/crib-bench-");
  resources.defer(() => rmSync(dir, { recursive: true, force: true }));
  mkdirSync(`${dir}/certs.d`);
  const registry = resources.use(await startRegistry());
  await writeMirrors(`${dir}/certs.d`, registry.host);
  const daemon = resources.use(await Daemon.start({ registryConfigDir: `${dir}/certs.d` }));
  const all: Runtime[] = [
    { name: "crib", cri: daemon.cri, processes: () => [daemon.pid, ...daemon.monitors()] },
    ...peers.map((peer) => {
      const [name = "", socket = ""] = peer.split("=");
      return { name, cri: connectCri(socket), processes: () => processesOf(name) };
    }),
  ];
  for (const { cri } of all) await cri.image.pullImage({ image: { image } });
  const moved = resources.move();
  return { daemon, all, logDirectory: dir, [Symbol.asyncDispose]: () => moved.disposeAsync() };
}
