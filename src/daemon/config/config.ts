import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { invalidArgument } from "../../lib/errors.ts";
import { isErrno } from "../../os/errno-error.ts";
import { parseConfig } from "./config-file.ts";
import type { FileConfig } from "./config-schema.ts";

const defaultFile = "/etc/crib/config.toml";

/** What the daemon runs with: file, flags and environment, checked, with every default filled in. Frozen. */
export interface Config extends FileConfig {
  /** The file that was read; undefined when there is none. */
  readonly file: string | undefined;
  /** Path of the CRI socket: `listen` without its scheme. */
  readonly socket: string;
  /** Directory of the embedded parts. The launcher names it; in development --payload or CRIB_PAYLOAD does. */
  readonly payload: string;
  /** The one file that users copy, which started us; empty when run from source. */
  readonly executable: string;
  /** systemd's socket for READY=1 (sd_notify(3)); undefined outside of systemd. */
  readonly notifySocket: string | undefined;
}

export const serveHelp = `The daemon: answers CRI v1 on a Unix socket until SIGTERM. Containers outlive it.

Usage: crib serve [OPTIONS]

Options:
      --config FILE       configuration (${defaultFile} if it is there)
      --root DIR          images, file systems and records
      --state DIR         sockets, bundles and namespaces
      --listen ADDRESS    CRI socket (unix://STATE/crib.sock)
      --log-level LEVEL   debug, info, warn or error
      --payload DIR       the embedded parts, when run from source
  -h, --help              show this help

Examples:
  crib serve
  crib config default >/etc/crib/config.toml && crib serve --log-level debug
`;

/** Flags win over the file, the file over the defaults. `args` is what follows `serve`. */
export function loadConfig(
  args: readonly string[],
  env: Record<string, string | undefined> = process.env,
): Config {
  const flags = parseFlags(args);
  const { file, config } = readFile(flags.config);
  const given = Object.entries({ root: flags.root, state: flags.state, listen: flags.listen })
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  if (flags["log-level"] !== undefined)
    given.push(`log.level = ${JSON.stringify(flags["log-level"])}`);
  // The same checks as in a file.
  const overrides = parseConfig(given.join("\n"), "command line", () => "command line");

  const merged = {
    ...config,
    ...(flags.root === undefined ? {} : { root: overrides.root }),
    ...(flags.state === undefined ? {} : { state: overrides.state }),
    ...(flags.listen === undefined ? {} : { listen: overrides.listen }),
    ...(flags["log-level"] === undefined
      ? {}
      : { log: Object.freeze({ ...config.log, level: overrides.log.level }) }),
  };
  const listen = merged.listen === "" ? `unix://${merged.state}/crib.sock` : merged.listen;
  return Object.freeze({
    ...merged,
    proxy: takeProxy(merged.proxy, env),
    file,
    listen,
    socket: listen.slice("unix://".length),
    payload: flags.payload ?? env["CRIB_PAYLOAD"] ?? "",
    executable: env["CRIB_LAUNCHER"] ?? "",
    notifySocket: env["NOTIFY_SOCKET"] || undefined,
  });
}

/** What the file leaves open, from the environment; taken out of it, since `fetch` would go by it as well, in its own way. */
function takeProxy(
  proxy: FileConfig["proxy"],
  env: Record<string, string | undefined>,
): FileConfig["proxy"] {
  const take = (name: string): string => {
    const value = env[name] || env[name.toLowerCase()] || "";
    delete env[name];
    delete env[name.toLowerCase()];
    return value;
  };
  const [http, https, none] = [take("HTTP_PROXY"), take("HTTPS_PROXY"), take("NO_PROXY")];
  return Object.freeze({
    http: proxy.http || http,
    https: proxy.https || https,
    none: proxy.none.length > 0 ? proxy.none : none.split(",").filter((entry) => entry !== ""),
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

function readFile(named: string | undefined): {
  readonly file: string | undefined;
  readonly config: FileConfig;
} {
  const file = named ?? defaultFile;
  try {
    return { file, config: parseConfig(readFileSync(file, "utf8"), file) };
  } catch (err) {
    if (named === undefined && isErrno(err, "ENOENT")) {
      return { file: undefined, config: parseConfig("", file) };
    }
    if (err instanceof Error && "code" in err) throw invalidArgument(`read ${file}`, err);
    throw err;
  }
}
