import { posix } from "node:path";
import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import { invalidArgument } from "../../lib/errors.ts";
import type { SpecHost } from "./host.ts";
import type { ImageProcess } from "./input.ts";

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * What runs: Kubernetes' `command` replaces both of the image's lists, `args` alone replace Cmd only.
 * Without either the image decides; nothing to run is an error.
 */
export function processArgs(
  config: Pick<pb.ContainerConfig, "command" | "args">,
  image: Pick<ImageProcess, "entrypoint" | "cmd">,
): readonly string[] {
  const fromImage = [...image.entrypoint, ...(config.args.length > 0 ? config.args : image.cmd)];
  const args = config.command.length > 0 ? [...config.command, ...config.args] : fromImage;
  if (args.length === 0) {
    throw invalidArgument("no command: neither the container nor its image has one");
  }
  for (const arg of args) refuseNul(arg, "command");
  return args;
}

/** The working directory: the container's, else the image's, else `/`. A relative one is below `/`. */
export function processCwd(
  config: Pick<pb.ContainerConfig, "workingDir">,
  image: Pick<ImageProcess, "workingDir">,
): string {
  const dir = config.workingDir === "" ? image.workingDir : config.workingDir;
  refuseNul(dir, "working directory");
  return posix.normalize(`/${dir}`);
}

/**
 * The environment, later ones over earlier ones: defaults, the image's, the container's, its devices'. Entries of the image
 * that are no `NAME=value` are left out. HOME comes last of all: runc would look it up itself otherwise.
 */
export function processEnv(
  config: Pick<pb.ContainerConfig, "envs" | "tty">,
  image: Pick<ImageProcess, "env">,
  more: {
    readonly hostname: string;
    readonly home: string;
    /** `NAME=value`, of CDI devices. */
    readonly devices?: readonly string[];
  },
): readonly string[] {
  const env = new Map([["PATH", defaultPath]]);
  if (more.hostname !== "") env.set("HOSTNAME", more.hostname);
  if (config.tty) env.set("TERM", "xterm");
  for (const entry of image.env) {
    const split = entry.indexOf("=");
    if (split <= 0) continue;
    refuseNul(entry, "environment of the image");
    env.set(entry.slice(0, split), entry.slice(split + 1));
  }
  for (const { key, value } of config.envs) env.set(checkName(key), decodeValue(key, value));
  for (const entry of more.devices ?? []) {
    const split = entry.indexOf("=");
    env.set(entry.slice(0, split), entry.slice(split + 1));
  }
  if (!env.has("HOME")) env.set("HOME", more.home);
  return Array.from(env, ([name, value]) => `${name}=${value}`);
}

function checkName(name: string): string {
  if (name === "" || name.includes("=")) {
    throw invalidArgument(`environment variable name ${JSON.stringify(name)}`);
  }
  refuseNul(name, "environment variable name");
  return name;
}

/**
 * config.json is JSON: runc reads bytes that are no UTF-8 as U+FFFD, so the process would get another value
 * than it was given. Refusing is the honest response.
 */
function decodeValue(name: string, value: Uint8Array): string {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(value);
  } catch (cause) {
    throw invalidArgument(`value of environment variable ${name} is not UTF-8`, cause);
  }
  refuseNul(text, `environment variable ${name}`);
  return text;
}

function refuseNul(text: string, what: string): void {
  if (text.includes("\0")) throw invalidArgument(`NUL byte in ${what}`);
}

/**
 * The value asked for, 0 if none. Lowering it under the daemon's own needs CAP_SYS_RESOURCE: without, the
 * container gets what the daemon has, rather than not starting.
 */
export function oomScoreAdj(
  requested: bigint | undefined,
  host: Pick<SpecHost, "boundingCapabilities" | "oomScoreAdj">,
): number {
  const value = Math.min(1000, Math.max(-1000, Number(requested ?? 0n)));
  if (host.boundingCapabilities.has("CAP_SYS_RESOURCE")) return value;
  return Math.max(value, host.oomScoreAdj);
}
