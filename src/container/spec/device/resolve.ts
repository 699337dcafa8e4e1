import type { BigIntStats } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { posix } from "node:path";
import type * as pb from "../../../gen/runtime/v1/api_pb.ts";
import { failedPrecondition, invalidArgument } from "../../../lib/errors.ts";
import type { SpecDevice, SpecDeviceRule } from "../../../oci/runtime-spec.ts";
import { isErrno } from "../../../os/errno-error.ts";

/** Device nodes to make in a container, and who may use which. */
export interface ResolvedDevices {
  readonly nodes: readonly SpecDevice[];
  readonly rules: readonly SpecDeviceRule[];
}

/** Nothing but what runc always allows (null, zero, full, random, urandom, tty, ptmx, and mknod without open). */
const denyAll: SpecDeviceRule = { allow: false, access: "rwm" };
const allowAll: SpecDeviceRule = { allow: true, access: "rwm" };

export const noDevices: ResolvedDevices = { nodes: [], rules: [denyAll] };

/** Bounds of a walk through a directory of devices. */
const maxNodes = 4096;
const maxDepth = 8;

/** A privileged container has every device of the node, all others those asked for. */
export async function resolveDevices(
  devices: readonly pb.Device[],
  privileged: boolean,
): Promise<ResolvedDevices> {
  const nodes = new Map<string, SpecDevice>();
  const rules: SpecDeviceRule[] = [denyAll];
  if (privileged) {
    for (const node of await walk("/dev", "/dev", 0)) nodes.set(node.path, node);
  }
  for (const device of devices) {
    const access = checkPermissions(device.permissions);
    for (const node of await resolveDevice(device)) {
      nodes.set(node.path, node);
      rules.push({ allow: true, type: node.type, major: node.major, minor: node.minor, access });
    }
    if (nodes.size > maxNodes) throw invalidArgument(`more than ${maxNodes} devices`);
  }
  return { nodes: [...nodes.values()], rules: privileged ? [allowAll] : rules };
}

/** The device at the host path, or all below it if that is a directory. */
async function resolveDevice(device: pb.Device): Promise<readonly SpecDevice[]> {
  const { hostPath } = device;
  const containerPath = device.containerPath === "" ? hostPath : device.containerPath;
  for (const path of [hostPath, containerPath]) {
    if (!path.startsWith("/") || path.includes("\0")) {
      throw invalidArgument(`device path ${JSON.stringify(path)} is not absolute`);
    }
  }
  try {
    const source = await realpath(hostPath);
    const found = await stat(source, { bigint: true });
    const path = posix.normalize(containerPath);
    if (found.isDirectory()) return await walk(source, path, 0);
    const node = deviceNode(path, found);
    if (node !== undefined) return [node];
  } catch (cause) {
    throw failedPrecondition(`device ${hostPath}`, cause);
  }
  throw invalidArgument(`${hostPath} is not a device`);
}

/** The device node at `hostPath`, to be at `path` in a container. */
export async function readDevice(hostPath: string, path: string): Promise<SpecDevice> {
  try {
    const node = deviceNode(path, await stat(hostPath, { bigint: true }));
    if (node !== undefined) return node;
  } catch (cause) {
    throw failedPrecondition(`device ${hostPath}`, cause);
  }
  throw failedPrecondition(`${hostPath} is not a device`);
}

/** Kernel file systems and runtimes' own places below /dev, which hold no devices of the node. */
const skipped = new Set(["pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts", ".udev"]);

async function walk(dir: string, containerDir: string, depth: number): Promise<SpecDevice[]> {
  if (depth > maxDepth) throw invalidArgument(`${dir}: devices more than ${maxDepth} levels deep`);
  const nodes: SpecDevice[] = [];
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    if (depth === 0 && skipped.has(entry.name)) continue;
    const source = `${dir}/${entry.name}`;
    const path = `${containerDir}/${entry.name}`;
    if (entry.isDirectory()) nodes.push(...(await walk(source, path, depth + 1)));
    if (entry.isCharacterDevice() || entry.isBlockDevice())
      nodes.push(...(await look(source, path)));
    if (nodes.length > maxNodes) throw invalidArgument(`${dir}: more than ${maxNodes} devices`);
  }
  return nodes;
}

/** Devices come and go; one that has gone is not an error of the walk. */
async function look(source: string, path: string): Promise<readonly SpecDevice[]> {
  try {
    const node = deviceNode(path, await stat(source, { bigint: true }));
    return node === undefined ? [] : [node];
  } catch (err) {
    if (isErrno(err, "ENOENT") || isErrno(err, "ENXIO")) return [];
    throw err;
  }
}

function deviceNode(path: string, found: BigIntStats): SpecDevice | undefined {
  const type = found.isCharacterDevice() ? "c" : found.isBlockDevice() ? "b" : undefined;
  if (type === undefined) return undefined;
  return {
    path,
    type,
    ...deviceNumber(found.rdev),
    fileMode: Number(found.mode & 0o777n),
    uid: Number(found.uid),
    gid: Number(found.gid),
  };
}

/** makedev(3) backwards, as glibc packs it. */
export function deviceNumber(rdev: bigint): { readonly major: number; readonly minor: number } {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xffff_f000n);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffff_ff00n);
  return { major: Number(major), minor: Number(minor) };
}

function checkPermissions(text: string): string {
  if (!/^(?!.*(.).*\1)[rwm]{1,3}$/.test(text)) {
    throw invalidArgument(`device permissions ${JSON.stringify(text)}: some of r, w, m`);
  }
  return text;
}
