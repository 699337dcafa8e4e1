import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { type Cri, connectCri } from "../test/harness/cri.ts";
import { Daemon } from "../test/harness/daemon.ts";
import { startRegistry, writeMirrors } from "../test/harness/registry-server.ts";
import { processesOf } from "./process.ts";

export const image = "registry.k8s.io/e2e-test-images/busybox:1.29-2";

/** For crib's state, which is on tmpfs on nodes: /run of a machine for tests may be on its disk. */
const tmpfs = "/dev/shm";

export interface Runtime {
  readonly name: string;
  readonly cri: Cri;
  readonly isCrib: boolean;
  /** Its daemon and the processes that stay for containers. */
  readonly processes: () => readonly number[];
}

/** A further crib to compare with: another build of it, or another configuration. */
export interface Variant {
  readonly name: string;
  /** Another file than `dist/crib`. */
  readonly executable?: string;
  /** TOML. */
  readonly config?: string;
}

/** `NAME=FILE`, as the option `--build` has it. */
export function parseBuild(text: string): Variant {
  const [name = "", executable = ""] = text.split("=");
  return { name, executable };
}

export interface Runtimes extends AsyncDisposable {
  readonly daemon: Daemon;
  /** crib is the first, then its variants. */
  readonly all: readonly Runtime[];
  readonly logDirectory: string;
}

/**
 * `dist/crib` with an image from a registry on this machine, its variants, and the peers that were named as
 * `NAME=SOCKET`, whose processes are those with `NAME` in their command line. A peer needs a network and mirrors of its
 * own.
 */
export async function openRuntimes(
  peers: readonly string[],
  variants: readonly Variant[] = [],
): Promise<Runtimes> {
  await using resources = new AsyncDisposableStack();
  const dir = mkdtempSync("/tmp/crib-bench-");
  resources.defer(() => rmSync(dir, { recursive: true, force: true }));
  mkdirSync(`${dir}/certs.d`);
  const registry = resources.use(await startRegistry());
  await writeMirrors(`${dir}/certs.d`, registry.host);
  const shared = { registryConfigDir: `${dir}/certs.d`, stateIn: tmpfs };
  const daemon = resources.use(await Daemon.start(shared));
  const all = [cribOf("crib", daemon)];
  for (const { name, ...options } of variants) {
    const other = resources.use(await Daemon.start({ ...shared, ...options }));
    all.push(cribOf(name, other));
  }
  for (const peer of peers) {
    const [name = "", socket = ""] = peer.split("=");
    const cri = connectCri(socket);
    all.push({ name, cri, isCrib: false, processes: () => processesOf(name) });
  }
  for (const { cri } of all) await cri.image.pullImage({ image: { image } });
  const moved = resources.move();
  return { daemon, all, logDirectory: dir, [Symbol.asyncDispose]: () => moved.disposeAsync() };
}

function cribOf(name: string, daemon: Daemon): Runtime {
  const processes = () => [daemon.pid, ...daemon.monitors()];
  return { name, cri: daemon.cri, isCrib: true, processes };
}
