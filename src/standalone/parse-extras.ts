import { isIP } from "node:net";
import { posix } from "node:path";
import { type ContainerExtras, parseRlimitName, type Rlimit } from "../container/extras.ts";
import type * as pb from "../gen/crib/admin/v1/admin_pb.ts";
import { invalidArgument } from "../lib/errors.ts";
import type { PodExtras } from "./pods.ts";

const maxEntries = 256;
const maxPathBytes = 4095;
const kernelDirectories = ["/proc", "/sys", "/dev"];

/** Checks what CRI has no field for. Throws `invalid-argument` with the field's name. */
export function parsePodExtras(extras: pb.PodExtras | undefined): PodExtras | undefined {
  if (extras === undefined) return undefined;
  const { rlimits, tmpfs, volumes, hostAliases, noNetwork, networkOfPod, namedVolumes } = extras;
  for (const list of [rlimits, tmpfs, volumes, hostAliases, namedVolumes]) {
    if (list.length > maxEntries) throw fail(`a list of over ${maxEntries}`);
  }
  if (noNetwork && networkOfPod !== "") throw fail("no_network and network_of_pod");
  const network = noNetwork ? "none" : networkOfPod === "" ? undefined : { of: networkOfPod };
  return {
    sandbox: { hostAliases: hostAliases.map(parseHostAlias) },
    network,
    volumes: namedVolumes.map(({ name, containerPath, readonly, fill: fills }) => {
      return { name, containerPath: parseDestination(containerPath), readonly, fills };
    }),
    container: {
      rlimits: rlimits.map(parseRlimit),
      tmpfs: tmpfs.map(({ destination, options }) => {
        return { destination: parseDestination(destination), options: parseOptions(options) };
      }),
      fills: [],
      volumes: volumes.map(parseDestination),
      ...limitsOf(extras),
    },
  };
}

function limitsOf({
  shmSizeBytes,
  pidsLimit,
}: pb.PodExtras): Pick<ContainerExtras, "shmSizeBytes" | "pidsLimit"> {
  if (shmSizeBytes > BigInt(Number.MAX_SAFE_INTEGER)) throw fail("shm_size_bytes: too large");
  if (pidsLimit < -1n || pidsLimit > 2n ** 22n) throw fail("pids_limit: from -1 to 4194304");
  return {
    shmSizeBytes: shmSizeBytes === 0n ? undefined : Number(shmSizeBytes),
    pidsLimit: pidsLimit === 0n ? undefined : Number(pidsLimit),
  };
}

function parseRlimit({ name, soft, hard }: pb.ResourceLimit): Rlimit {
  const isLower = hard === -1n || (soft !== -1n && soft <= hard);
  const arePlain = [soft, hard].every((one) => one >= -1n && one < 2n ** 53n);
  if (!isLower || !arePlain) throw fail(`rlimit ${name.slice(0, 40)}: soft ${soft}, hard ${hard}`);
  return { name: parseRlimitName(name), soft: Number(soft), hard: Number(hard) };
}

function parseDestination(path: string): string {
  const normal = posix.normalize(path).replace(/(?<=.)\/$/, "");
  const isPlain = path.startsWith("/") && !path.includes("\0") && normal !== "/";
  const isKernels = kernelDirectories.some((one) => normal === one || normal.startsWith(`${one}/`));
  if (isPlain && (!isKernels || normal === "/dev/shm") && Buffer.byteLength(path) <= maxPathBytes) {
    return normal;
  }
  throw fail(`${JSON.stringify(path.slice(0, 200))} is no place for a file system`);
}

const option =
  /^(ro|rw|exec|noexec|suid|nosuid|dev|nodev|noatime|relatime|strictatime|sync|size=\d{1,15}[kmg%]?|nr_inodes=\d{1,12}[kmg]?|mode=[0-7]{3,4}|[ug]id=\d{1,10})$/;

function parseOptions(options: readonly string[]): readonly string[] {
  const wrong = options.find((one) => !option.test(one));
  if (wrong === undefined && options.length <= maxEntries) return [...options];
  throw fail(`option ${JSON.stringify(wrong?.slice(0, 100))} of a tmpfs`);
}

function parseHostAlias({ ip, name }: pb.HostAlias) {
  if (isIP(ip) === 0) throw fail(`${JSON.stringify(ip.slice(0, 100))} is not an IP address`);
  if (!/^[\w.-]{1,253}$/.test(name)) {
    throw fail(`${JSON.stringify(name.slice(0, 300))} is no host name`);
  }
  return { ip, name };
}

function fail(message: string) {
  return invalidArgument(`extras: ${message}`);
}
