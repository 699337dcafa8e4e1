import { readdirSync, readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { invalidArgument } from "../../lib/errors.ts";
import { nodePaths } from "../../lib/node-paths.ts";
import { isErrno } from "../../os/errno-error.ts";
import type * as configFile from "./config-file.ts";
import type { FileConfig } from "./config-schema.ts";
import { buildConfig, checkGiven, dotted, type Given, type GivenSettings } from "./given.ts";

/** What the daemon runs with: file, flags and environment, checked, with every default filled in. Frozen. */
export interface Config extends FileConfig {
  /** The files that were read: the configuration file, if it is there, and its drop-ins in their order. */
  readonly files: readonly string[];
  /** Path of the CRI socket: `listen` without its scheme. */
  readonly socket: string;
  /** Directory of the embedded parts. The launcher names it; in development --payload or CRIB_PAYLOAD does. */
  readonly payload: string;
  /** The one file that users copy, which started us; empty when run from source. */
  readonly executable: string;
  /** systemd's socket for READY=1 (sd_notify(3)); undefined outside of systemd. */
  readonly notifySocket: string | undefined;
}

/** A configuration, and where each of its settings was given. */
export interface LoadedConfig {
  readonly config: Config;
  readonly given: GivenSettings;
}

/** The parser of files, which a node without any need not load. */
export type LoadConfigFile = () => Promise<Pick<typeof configFile, "readConfigText">>;

const maxDropIns = 100;

/**
 * Flags win over the files, of those the later one (the drop-ins `FILE.d/*.toml` in the order of their names, after FILE),
 * files over the environment, and that over the defaults. `args` is what follows `serve`. The variables of proxies are
 * taken out of `env`, since `fetch` would go by them as well, in its own way.
 */
export async function loadConfig(
  args: readonly string[],
  env: Record<string, string | undefined>,
  loadConfigFile: LoadConfigFile,
): Promise<LoadedConfig> {
  const flags = parseFlags(args);
  const texts = readFiles(flags.config);
  const given = new Map<string, Given>();
  const give = (entry: Given) => given.set(dotted(entry.keyPath), entry);
  for (const entry of proxyOf(env)) give(entry);
  if (texts.length > 0) {
    const { readConfigText } = await loadConfigFile();
    for (const { file, text } of texts) readConfigText(text, file).forEach(give);
  }
  const byFlag = [
    [["root"], flags.root],
    [["state"], flags.state],
    [["listen"], flags.listen],
    [["log", "level"], flags["log-level"]],
  ] as const;
  for (const [keyPath, value] of byFlag) {
    if (value !== undefined) give(checkGiven({ keyPath, value, origin: "command line" }));
  }
  const settings = buildConfig(given);
  const listen = settings.listen === "" ? `unix://${settings.state}/crib.sock` : settings.listen;
  const config = Object.freeze({
    ...settings,
    files: texts.map(({ file }) => file),
    listen,
    socket: listen.slice("unix://".length),
    payload: flags.payload ?? env["CRIB_PAYLOAD"] ?? "",
    executable: env["CRIB_LAUNCHER"] ?? "",
    notifySocket: env["NOTIFY_SOCKET"] || undefined,
  });
  return { config, given };
}

/** Takes the variables of proxies out of the environment, for `loadConfig`, however often it is called. */
export function takeProxyVariables(
  env: Record<string, string | undefined> = process.env,
): Record<string, string | undefined> {
  const taken: Record<string, string | undefined> = { ...env };
  for (const name of ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"]) {
    delete env[name];
    delete env[name.toLowerCase()];
  }
  return taken;
}

function proxyOf(env: Readonly<Record<string, string | undefined>>): readonly Given[] {
  const settings: readonly (readonly [key: string, variable: string])[] = [
    ["http", "HTTP_PROXY"],
    ["https", "HTTPS_PROXY"],
    ["none", "NO_PROXY"],
  ];
  return settings.flatMap(([key, variable]) => {
    const text = env[variable] || env[variable.toLowerCase()] || "";
    if (text === "") return [];
    const value = key === "none" ? text.split(",").filter((entry) => entry !== "") : text;
    return [checkGiven({ keyPath: ["proxy", key], value, origin: `environment ${variable}` })];
  });
}

function parseFlags(args: readonly string[]) {
  const option = { type: "string" } as const;
  try {
    return parseArgs({
      args: [...args],
      strict: true,
      allowPositionals: false,
      options: {
        config: option,
        root: option,
        state: option,
        listen: option,
        payload: option,
        "log-level": option,
      },
    }).values;
  } catch (cause) {
    throw invalidArgument("command line", cause);
  }
}

function readFiles(
  named: string | undefined,
): readonly { readonly file: string; readonly text: string }[] {
  const main = named ?? nodePaths.config;
  const dropIns = listDropIns(`${main}.d`).map((file) => ({ file, text: readText(file) }));
  try {
    return [{ file: main, text: readFileSync(main, "utf8") }, ...dropIns];
  } catch (err) {
    if (named === undefined && isErrno(err, "ENOENT")) return dropIns;
    throw invalidArgument(`read ${main}`, err);
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw invalidArgument(`read ${file}`, cause);
  }
}

/** In the order of their names' bytes. */
function listDropIns(directory: string): readonly string[] {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch (err) {
    if (isErrno(err, "ENOENT") || isErrno(err, "ENOTDIR")) return [];
    throw invalidArgument(`read ${directory}`, err);
  }
  const files = names.filter((name) => name.endsWith(".toml") && !name.startsWith("."));
  if (files.length > maxDropIns) {
    throw invalidArgument(`${directory}: over ${maxDropIns} files`);
  }
  return files.sort().map((name) => `${directory}/${name}`);
}
