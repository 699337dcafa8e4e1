import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { describe, invalidArgument, notFound } from "../../lib/errors.ts";
import { type RunscConfig, readRunscConfig, type ShimKind, shimKindOf } from "./options.ts";
import { findProgram, resolveShim, shimSearchPath } from "./resolve.ts";

/** A runtime handler of type "shim", as it is configured. */
export interface ShimSettings {
  /** An absolute path, or containerd's name of the runtime. */
  readonly path: string;
  readonly configType: string;
  readonly configPath: string;
  readonly config: string;
}

export interface LocatedShim {
  /** Absolute. */
  readonly path: string;
  readonly kind: ShimKind;
  /** Directories in which the shim finds what it runs. */
  readonly searchPath: string;
  /** The text of the configuration for the runtime behind it; empty where there is none. */
  readonly text: string;
  /** What gVisor's shim runs, with an absolute path. */
  readonly runsc: RunscConfig | undefined;
}

const maxConfigBytes = 256 * 1024;

/**
 * The programs and files that a handler of type "shim" needs, without running or writing anything. `binary` is crib's own
 * program, whose directory is searched as well. Throws `not-found` and `invalid-argument` with what is missing or wrong.
 */
export function locateShim(settings: ShimSettings, binary: string): LocatedShim {
  const given = settings.path.startsWith("/") ? [dirname(settings.path)] : [];
  const path = resolveShim(settings.path, shimSearchPath([...given, dirname(binary)]));
  const searchPath = shimSearchPath([dirname(path), dirname(binary)]);
  const kind = shimKindOf(path);
  const text = readConfig(settings);
  const runsc = kind === "runsc" ? findRunsc(text, searchPath) : undefined;
  return { path, kind, searchPath, text, runsc };
}

export function programName(path: string): string {
  return path.split("/").at(-1) ?? path;
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

function findRunsc(text: string, searchPath: string): RunscConfig {
  const config = readRunscConfig(text);
  const binary = findProgram(config.binary, searchPath);
  if (binary === undefined) {
    throw notFound(`${config.binary}, which gVisor's shim runs, is not in ${searchPath}`);
  }
  return { ...config, binary };
}
