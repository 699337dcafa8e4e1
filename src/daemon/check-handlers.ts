import { existsSync, readFileSync } from "node:fs";
import type { Context } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import { runCommand } from "../os/process/command.ts";
import { childEnv } from "../os/process/role.ts";
import { locateShim, programName } from "../runtime/shim/locate-shim.ts";
import { checkShimConfig } from "../runtime/shim/options.ts";
import { findProgram } from "../runtime/shim/resolve.ts";
import type { Config } from "./config/config.ts";

export interface CheckedHandler {
  /** The handler's, as a RuntimeClass names it. */
  readonly name: string;
  readonly level: "ok" | "warning" | "missing";
  /** What is there; where it is not ok, why it matters and what to do. */
  readonly detail: string;
}

type Handler = Config["runtime"]["handlers"][string];

const versionMs = 10_000;
const maxOutputBytes = 1 << 20;
const capSysResource = 24n;

/**
 * What the runtime handlers of a configuration need and this node lacks. Programs are looked for as a daemon would, and
 * only asked for their version; nothing is written.
 */
export async function checkHandlers(
  ctx: Context,
  config: Pick<Config, "runtime" | "executable">,
): Promise<readonly CheckedHandler[]> {
  const { defaultHandler, handlers } = config.runtime;
  const binary = config.executable === "" ? process.execPath : config.executable;
  const checked = Object.entries(handlers).map(async ([name, entry]) => {
    try {
      return await checkHandler(ctx, name, entry, binary);
    } catch (err) {
      const effect =
        name === defaultHandler ? "no daemon starts without it" : "its pods cannot be created";
      return [{ name, level: "missing" as const, detail: `${describe(err)}; ${effect}` }];
    }
  });
  return (await Promise.all(checked)).flat();
}

async function checkHandler(
  ctx: Context,
  name: string,
  entry: Handler,
  binary: string,
): Promise<readonly CheckedHandler[]> {
  const one = (level: CheckedHandler["level"], detail: string) => ({ name, level, detail });
  if (entry.type === "oci") {
    if (entry.path === "") return [one("ok", "embedded")];
    const version = await versionOf(ctx, entry.path, "--version");
    const found = one("ok", `${entry.path}${version}`);
    return isRunsc(entry.path) ? [found, one("warning", runscAdvice)] : [found];
  }
  const { path, kind, text, runsc } = locateShim(entry, binary);
  checkShimConfig(kind, text);
  const behind =
    runsc === undefined
      ? ""
      : ` with ${runsc.binary}${await versionOf(ctx, runsc.binary, "--version")}`;
  const found = one("ok", `${path}${await versionOf(ctx, path, "-v")}${behind}`);
  const lacks = kind === "runsc" ? lacksOfGvisor() : isKata(path) ? lacksOfKata() : [];
  return [found, ...lacks.map((detail) => one("warning", detail))];
}

const runscAdvice =
  'pods of this handler can have one container only: use gVisor\'s shim (type = "shim", path = "io.containerd.runsc.v1")';

function isRunsc(path: string): boolean {
  return programName(path).startsWith("runsc");
}

function isKata(path: string): boolean {
  return programName(path).startsWith("containerd-shim-kata");
}

/** Throws where there is no such program; a program that does not say its version is one all the same. */
async function versionOf(ctx: Context, path: string, flag: string): Promise<string> {
  if (findProgram(path, "") === undefined) throw new Error(`${path}: no such program`);
  try {
    const options = { env: childEnv, timeoutMs: versionMs, maxOutputBytes };
    const { stdout } = await runCommand(ctx, [path, flag], options);
    const version = /version:?[ \t]+([^\s,]+)/i.exec(stdout.toString("utf8"))?.[1];
    return version === undefined ? "" : ` ${version.slice(0, 100)}`;
  } catch (cause) {
    ctx.signal.throwIfAborted();
    throw new Error(`${path} ${flag}: ${describe(cause)}`, { cause });
  }
}

/** gVisor's shim lowers its own OOM score, and gives up where it may not. */
function lacksOfGvisor(): readonly string[] {
  const status = readFileSync("/proc/self/status", "utf8");
  const bounding = /^CapBnd:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0";
  if ((BigInt(`0x${bounding}`) >> capSysResource) & 1n) return [];
  return [
    "there is no CAP_SYS_RESOURCE here, without which gVisor's shim does not start; a daemon that systemd starts has it",
  ];
}

function lacksOfKata(): readonly string[] {
  const needed = [
    [
      "/dev/kvm",
      "there is no hardware virtualization: load kvm_intel or kvm_amd, enable it in the firmware",
    ],
    ["/dev/vhost-vsock", "modprobe vhost_vsock: the shim reaches its machine by it"],
    ["/dev/log", "the shim logs to syslog and does not start without its socket"],
  ] as const;
  return needed.filter(([path]) => !existsSync(path)).map(([path, why]) => `no ${path}: ${why}`);
}
