import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import type { CgroupHost } from "../../cgroup/host.ts";
import type { Context } from "../../lib/context.ts";
import { describe, invalidArgument, notFound } from "../../lib/errors.ts";
import { parseFeatures } from "../features.ts";
import type { OutputPool } from "../output-pool.ts";
import type { RuntimeFeatures } from "../runtime.ts";
import { ShimEvents } from "./events.ts";
import { type RuncDefaults, readRunscConfig, shimKindOf, shimOptions } from "./options.ts";
import { findProgram, resolveShim, shimSearchPath } from "./resolve.ts";
import type { ShimMonitors } from "./shim-deps.ts";
import { readShimFeatures, type ShimProgram } from "./shim-program.ts";
import { makeShimDirectory, ShimRuntime, writeShimConfig } from "./shim-runtime.ts";

/** A runtime handler of type "shim", as it is configured. */
export interface ShimSettings {
  /** An absolute path, or containerd's name of the runtime. */
  readonly path: string;
  readonly configType: string;
  readonly configPath: string;
  readonly config: string;
}

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

const maxConfigBytes = 256 * 1024;
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

export function openShimEvents(ctx: Context, stateDir: string): ShimEvents {
  const dir = makeShimDirectory(stateDir);
  return new ShimEvents(ctx, ttrpcAddressOf(dir), shimNamespaceOf(stateDir));
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
  const given = settings.path.startsWith("/") ? [dirname(settings.path)] : [];
  const found = resolveShim(settings.path, shimSearchPath([...given, dirname(host.binary)]));
  const searchPath = shimSearchPath([dirname(found), dirname(host.binary)]);
  const kind = shimKindOf(found);
  const text = readConfig(settings);
  const isInline = settings.config !== "" && kind !== "runc";
  const config = {
    typeUrl: settings.configType,
    path: isInline ? writeShimConfig(host.stateDir, name, text) : settings.configPath,
    text,
  };
  const program: ShimProgram = {
    path: found,
    name: found.split("/").at(-1) ?? found,
    searchPath,
    namespace: host.namespace,
    address: `${dir}/events`,
    ttrpcAddress: ttrpcAddressOf(dir),
    socketDir: dir.length + 3 + socketNameBytes <= maxSocketPath ? `${dir}/s` : undefined,
    binary: host.binary,
    options: shimOptions(kind, config, runc),
    commandMs: host.commandMs ?? defaultCommandMs,
  };
  const runsc = kind === "runsc" ? findRunsc(text, searchPath) : undefined;
  const told = await featuresOf(ctx, program);
  const features = runsc === undefined ? told : { ...told, ...gvisorLacks(runsc.obeysSeccomp) };
  return new ShimRuntime(ctx, {
    ...{ name, program, kind, features, runsc },
    ...host,
  });
}

function readConfig({ config, configPath }: ShimSettings): string {
  if (config !== "" && configPath !== "") {
    throw invalidArgument("config and config_path are both set: one of them is too many");
  }
  if (configPath === "") return config;
  let text: string;
  try {
    text = readFileSync(configPath, "utf8");
  } catch (cause) {
    throw notFound(`config_path: read ${configPath}: ${describe(cause)}`);
  }
  if (text.length > maxConfigBytes) {
    throw invalidArgument(`config_path: ${configPath} is over ${maxConfigBytes} bytes`);
  }
  return text;
}

function findRunsc(text: string, searchPath: string) {
  const config = readRunscConfig(text);
  const binary = findProgram(config.binary, searchPath);
  if (binary === undefined) {
    throw notFound(`${config.binary}, which gVisor's shim runs, is not in ${searchPath}`);
  }
  return { ...config, binary };
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
    ctx.log.warn("read what a shim's runtime can do", { path: program.path, err: describe(err) });
    return unknownFeatures;
  }
}
