import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
} from "node:fs";
import type { Context } from "../../lib/context.ts";
import { AppError, describe, invalidArgument } from "../../lib/errors.ts";
import { ifThere, isErrno } from "../../os/errno-error.ts";
import { ownChild } from "../../os/process/own-child.ts";
import { childEnv } from "../../os/process/role.ts";
import { openSocketPair } from "../../os/socket/socket-pair.ts";
import { SocketStream } from "../../os/socket/socket-stream.ts";
import type { NriConfig } from "../config.ts";
import type { PluginIdentity } from "./plugin.ts";
import { parsePluginName } from "./register.ts";

const maxInstalled = 64;
const maxConfigBytes = 1 << 20;
/** Which descriptor of the plugin is its connection. */
const connectionFd = 3;

export interface InstalledPlugin {
  readonly identity: PluginIdentity;
  readonly path: string;
  /** What the plugin gets when it is configured; empty for nothing. */
  readonly config: string;
}

/** Programs in the plugin directory, in their order. One that cannot be used is logged and left out. */
export function listInstalled(ctx: Context, config: NriConfig): readonly InstalledPlugin[] {
  const plugins: InstalledPlugin[] = [];
  for (const name of (ifThere(() => readdirSync(config.pluginPath)) ?? [])
    .sort()
    .slice(0, maxInstalled)) {
    const path = `${config.pluginPath}/${name}`;
    try {
      const status = statSync(path);
      if (!status.isFile() || (status.mode & 0o111) === 0) continue;
      const identity = parsePluginName(name);
      // It will run as root.
      if (status.uid !== 0 || (status.mode & 0o022) !== 0) {
        throw new AppError("not root's, or others may write to it", { kind: "permission-denied" });
      }
      plugins.push({ identity, path, config: readConfig(config.pluginConfigPath, identity) });
    } catch (err) {
      ctx.log.warn("NRI plugin skipped", { path, err: describe(err) });
    }
  }
  return plugins;
}

/** A plugin's process, and the connection to it. Disposing kills it. */
export interface LaunchedPlugin extends Disposable {
  readonly connection: SocketStream;
}

/** Starts the program as NRI has it: its connection is descriptor 3, its name is in the environment. */
export async function launchPlugin({ identity, path }: InstalledPlugin): Promise<LaunchedPlugin> {
  const [own, its] = openSocketPair();
  using given = its;
  using stack = new DisposableStack();
  stack.use(own);
  const child = ownChild(
    Bun.spawn([path], {
      cwd: "/",
      env: {
        ...childEnv,
        NRI_PLUGIN_NAME: identity.name,
        NRI_PLUGIN_IDX: identity.index,
        NRI_PLUGIN_SOCKET: String(connectionFd),
      },
      stdio: ["ignore", "ignore", "ignore", given.fd],
      detached: true,
    }),
  );
  stack.defer(() => child.kill("SIGKILL"));
  const connection = stack.use(await SocketStream.connect({ fd: own }));
  const running = stack.move();
  return { connection, [Symbol.dispose]: () => running.dispose() };
}

/** `10-logger.conf`, or `logger.conf` for it under any index. */
function readConfig(dir: string, { index, name }: PluginIdentity): string {
  for (const file of [`${dir}/${index}-${name}.conf`, `${dir}/${name}.conf`]) {
    const text = readIfThere(file);
    if (text !== undefined) return text;
  }
  return "";
}

function readIfThere(path: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (err) {
    if (isErrno(err, "ENOENT")) return undefined;
    throw err;
  }
  try {
    const status = fstatSync(fd);
    if (!status.isFile() || status.size > maxConfigBytes) {
      throw invalidArgument(`${path}: no file of at most ${maxConfigBytes} bytes`);
    }
    const bytes = Buffer.alloc(status.size);
    return bytes.toString("utf8", 0, readSync(fd, bytes));
  } finally {
    closeSync(fd);
  }
}
