import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { hostname as nodeHostname } from "node:os";
import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import { invalidArgument } from "../../lib/errors.ts";
import type { SandboxId } from "../../lib/id.ts";
import { namespacePath } from "../../network/namespace/netns.ts";
import { nodeNetnsPath } from "../../network/namespace/node-netns.ts";
import { rootOf } from "../../oci/pod-ids.ts";
import { ifThere, isErrno } from "../../os/errno-error.ts";
import { MNT_DETACH, MS_NODEV, MS_NOEXEC, MS_NOSUID, mount, umount } from "../../os/mount/mount.ts";
import type { SandboxExtras } from "../sandbox.ts";
import { podNamespaces } from "./namespaces.ts";

/** Where the parts of one sandbox are, on tmpfs under `<state>`. */
export interface SandboxDirectory {
  readonly dir: string;
  /** Pinned namespaces: `ipc`, `uts`, `user`. */
  readonly namespaces: string;
  /** The pinned network namespace, where the node's agents find it. */
  readonly netns: string;
  /** What containers see at /etc: `podFiles`. */
  readonly files: string;
  /** Which of the node's network interfaces came to the pod. */
  readonly netDevices: string;
  /** The /dev/shm that the pod's containers share. */
  readonly shm: string;
  /** The empty root of the infra container. */
  readonly infraRoot: string;
}

export function sandboxDirectoryOf(stateDir: string, id: SandboxId): SandboxDirectory {
  const dir = `${stateDir}/sandboxes/${id}`;
  const namespaces = `${dir}/ns`;
  // Pods of an earlier crib have theirs beside the others.
  const earlier = namespacePath(namespaces, "net");
  return {
    dir,
    namespaces,
    netns: existsSync(earlier) ? earlier : nodeNetnsPath(stateDir, id),
    files: `${dir}/files`,
    netDevices: `${dir}/net-devices`,
    shm: `${dir}/shm`,
    infraRoot: `${dir}/infra`,
  };
}

/** Pods of an earlier crib have theirs in the sandbox's directory itself. */
export function podFiles({ dir, files }: Pick<SandboxDirectory, "dir" | "files">) {
  const at = existsSync(files) ? files : dir;
  return { hostname: `${at}/hostname`, hosts: `${at}/hosts`, resolvConf: `${at}/resolv.conf` };
}

const shmSizeBytes = 64 << 20;
/** A container may write to its files: not until `<state>` is full. */
const filesSizeBytes = 256 << 10;
const maxHostname = 64;
const maxResolvConf = 64 << 10;

/** Makes the directory with what containers see and their root owns: files, and /dev/shm. The disposer undoes all of it. */
export function createSandboxDirectory(
  paths: SandboxDirectory,
  config: pb.PodSandboxConfig,
  more: MoreFiles = {},
): Disposable {
  const contents = more.shared === undefined ? podFileContents(config) : readPodFiles(more.shared);
  for (const { ip, name } of more.hostAliases ?? []) contents.hosts += `${ip}\t${name}\n`;
  // 0711: containers in a user namespace have to reach the files, nobody has to list them.
  mkdirSync(paths.dir, { mode: 0o711 });
  using rollback = new DisposableStack();
  rollback.defer(() => removeSandboxDirectory(paths));
  const { ipc, ids } = podNamespaces(config);
  const root = ids === undefined ? { uid: 0, gid: 0 } : rootOf(ids);
  mkdirSync(paths.files, { mode: 0o711 });
  const flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  mount("files", paths.files, "tmpfs", flags, `mode=711,size=${filesSizeBytes},nr_inodes=16`);
  for (const [name, path] of Object.entries(podFiles(paths))) {
    writeFileSync(path, contents[name as keyof typeof contents]);
    chmodSync(path, 0o644);
    chownSync(path, root.uid, root.gid);
  }
  if (ipc) {
    mkdirSync(paths.shm, { mode: 0o711 });
    const options = `mode=1777,size=${shmSizeBytes},uid=${root.uid},gid=${root.gid}`;
    mount("shm", paths.shm, "tmpfs", flags, options);
  }
  return rollback.move();
}

interface MoreFiles {
  readonly hostAliases?: SandboxExtras["hostAliases"] | undefined;
  /** The sandbox whose files at /etc this one has. */
  readonly shared?: SandboxDirectory | undefined;
}

/** A container may have written to them: no more than fits is read, and no link of its is followed. */
function readPodFiles(paths: SandboxDirectory): ReturnType<typeof podFileContents> {
  const files = podFiles(paths);
  const read = (path: string) => readFileSync(path, "utf8").slice(0, maxResolvConf);
  return {
    hostname: read(files.hostname),
    hosts: read(files.hosts),
    resolvConf: read(files.resolvConf),
  };
}

/** Of the files that a pod's containers see at /etc. Throws `invalid-argument` for what cannot stand in them. */
export function podFileContents(config: pb.PodSandboxConfig) {
  return {
    hostname: `${hostnameOf(config)}\n`,
    hosts: hosts(hostnameOf(config)),
    resolvConf: resolvConf(config.dnsConfig),
  };
}

/** Idempotent. The namespaces must be unpinned. */
export function removeSandboxDirectory(paths: SandboxDirectory): void {
  unmountSandbox(paths);
  rmSync(paths.dir, { recursive: true, force: true });
}

/** What its containers share. Idempotent. */
export function unmountSandbox(paths: SandboxDirectory): void {
  for (const path of [paths.shm, paths.files]) {
    try {
      umount(path, MNT_DETACH);
    } catch (err) {
      if (!isErrno(err, "EINVAL") && !isErrno(err, "ENOENT")) throw err;
    }
  }
}

/** The pod's host name; the node's for a pod in the node's network. */
export function hostnameOf(config: pb.PodSandboxConfig): string {
  if (!podNamespaces(config).uts) return nodeHostname();
  const name = config.hostname === "" ? (config.metadata?.name ?? "") : config.hostname;
  if (Buffer.byteLength(name) > maxHostname && config.hostname !== "") {
    throw invalidArgument(`hostname is longer than ${maxHostname} bytes`);
  }
  return line(name.slice(0, maxHostname), "hostname");
}

/** A kubelet mounts its own file over it; other clients find the pod's name in this one. */
function hosts(hostname: string): string {
  return `127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t${hostname}\n`;
}

/** resolv.conf(5) from the pod's DNS settings, the node's own where there are none. */
function resolvConf(dns: pb.DNSConfig | undefined): string {
  if (dns === undefined) return nodeResolvConf();
  const { servers, searches, options } = dns;
  if (servers.length + searches.length + options.length === 0) return nodeResolvConf();
  const lines = servers.map((server) => `nameserver ${line(server, "DNS server")}`);
  if (searches.length > 0)
    lines.push(`search ${searches.map((s) => line(s, "DNS search")).join(" ")}`);
  if (options.length > 0)
    lines.push(`options ${options.map((o) => line(o, "DNS option")).join(" ")}`);
  return `${lines.join("\n")}\n`;
}

function nodeResolvConf(): string {
  return ifThere(() => readFileSync("/etc/resolv.conf", "utf8").slice(0, maxResolvConf)) ?? "";
}

/** A value that goes into a line of a file must not bring lines of its own. */
function line(value: string, what: string): string {
  if (/[\p{Cc}]/u.test(value)) throw invalidArgument(`${what} contains a control character`);
  return value;
}
