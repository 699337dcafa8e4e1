import { createHash } from "node:crypto";
import { existsSync, readdirSync, rmSync } from "node:fs";
import type { CgroupHost } from "../../cgroup/host.ts";
import type { Context } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import { isListening } from "../../os/socket/is-listening.ts";
import { parseFeatures } from "../features.ts";
import type { OutputPool } from "../output-pool.ts";
import type { RuntimeFeatures } from "../runtime.ts";
import { ShimEvents } from "./events.ts";
import { locateShim, programName, type ShimSettings } from "./locate-shim.ts";
import { type RuncDefaults, shimOptions } from "./options.ts";
import type { ShimMonitors } from "./shim-deps.ts";
import { readShimFeatures, type ShimProgram } from "./shim-program.ts";
import { ShimRuntime } from "./shim-runtime.ts";
import { makeShimDirectory, writeShimConfig } from "./task-files.ts";

/** What all shims of a daemon share. */
export interface ShimHost {
  readonly stateDir: string;
  readonly namespace: string;
  readonly events: ShimEvents;
  readonly monitors: ShimMonitors;
  readonly cgroup: CgroupHost;
  readonly output: OutputPool;
  /** This program, for shims that want to run their daemon's. */
  readonly binary: string;
  /** For `start` and `delete` of a shim each. */
  readonly commandMs?: number;
}

const defaultCommandMs = 60_000;
/** Of SHA-256 in hex, which is what shims call their sockets. */
const socketNameBytes = 64;
const maxSocketPath = 100;

/**
 * The name under which everything of this daemon's shims is kept apart from that of containerd and of other daemons on
 * the node: the namespace, in directories that runtimes share, made of the state directory.
 */
export function shimNamespaceOf(stateDir: string): string {
  return `crib-${createHash("sha256").update(stateDir).digest("hex").slice(0, 12)}`;
}

/** Opened before any shim is started: sockets of shims that were killed are removed, also those that no record knows. */
export async function openShimEvents(ctx: Context, stateDir: string): Promise<ShimEvents> {
  const dir = makeShimDirectory(stateDir);
  await removeDeadSockets(socketDirectoryOf(dir));
  return new ShimEvents(ctx, ttrpcAddressOf(dir), shimNamespaceOf(stateDir));
}

function socketDirectoryOf(dir: string): string {
  return `${dir}/s`;
}

async function removeDeadSockets(dir: string): Promise<void> {
  if (!existsSync(dir)) return;
  for (const name of readdirSync(dir)) {
    const path = `${dir}/${name}`;
    if (!(await isListening(path))) rmSync(path, { force: true });
  }
}

function ttrpcAddressOf(dir: string): string {
  return `${dir}/events.ttrpc`;
}

/** A handler that speaks to shims. `not-found` and `invalid-argument` say what is missing or wrong. */
export async function openShimRuntime(
  ctx: Context,
  name: string,
  settings: ShimSettings,
  host: ShimHost,
  runc: RuncDefaults,
): Promise<ShimRuntime> {
  const dir = makeShimDirectory(host.stateDir);
  const { path, kind, searchPath, text, runsc } = locateShim(settings, host.binary);
  const isInline = settings.config !== "" && kind !== "runc";
  const config = {
    typeUrl: settings.configType,
    path: isInline ? writeShimConfig(host.stateDir, name, text) : settings.configPath,
    text,
  };
  const program: ShimProgram = {
    path,
    name: programName(path),
    searchPath,
    namespace: host.namespace,
    address: `${dir}/events`,
    ttrpcAddress: ttrpcAddressOf(dir),
    socketDir:
      dir.length + 3 + socketNameBytes <= maxSocketPath ? socketDirectoryOf(dir) : undefined,
    binary: host.binary,
    options: shimOptions(kind, config, runc),
    commandMs: host.commandMs ?? defaultCommandMs,
  };
  const told = await featuresOf(ctx, program);
  const features = runsc === undefined ? told : { ...told, ...gvisorLacks(runsc.obeysSeccomp) };
  return new ShimRuntime(ctx, {
    ...{ name, program, kind, features, runsc },
    ...host,
  });
}

/** What runsc lists among its features, and what it does with a pod of the node are two things. */
function gvisorLacks(obeysSeccomp: boolean): Partial<RuntimeFeatures> {
  return {
    seccomp: obeysSeccomp,
    userNamespaces: false,
    netDevices: false,
    recursiveReadOnlyMounts: false,
  };
}

/** A shim that does not tell promises nothing. */
const unknownFeatures: RuntimeFeatures = {
  recursiveReadOnlyMounts: false,
  userNamespaces: false,
  seccomp: false,
  appArmor: false,
  selinux: false,
  cgroupNamespaces: true,
  netDevices: false,
  rdtSchemata: false,
};

async function featuresOf(ctx: Context, program: ShimProgram): Promise<RuntimeFeatures> {
  try {
    const features = await readShimFeatures(ctx, program);
    if (features === undefined || features.byteLength === 0) return unknownFeatures;
    return parseFeatures(features, `${program.name} -info`);
  } catch (err) {
    ctx.log.warn("shim features not read", { path: program.path, err: describe(err) });
    return unknownFeatures;
  }
}
