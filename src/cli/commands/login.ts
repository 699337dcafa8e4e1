import { abortable } from "../../lib/abortable.ts";
import { AppError } from "../../lib/errors.ts";
import { type CommandEnv, implementCommand } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { credentialsFileOf, registryOf, withCredentials } from "../image/stored-credentials.ts";
import { plain } from "../output/output.ts";

export const login = implementCommand("login", async (env, options, [host = "docker.io"]) => {
  const registry = registryOf(host);
  const file = await credentialsFileOf(env, options.config);
  const username = options.username ?? (await ask(env, "Username: ", true));
  const password = await passwordOf(env, options);
  if (username === "" || username.includes(":")) {
    throw new UsageError(`--username ${username}: empty or with a colon`);
  }
  if (password === "") throw new UsageError("the password is empty");
  const changed = withCredentials(file, registry, { username, password });
  if (!options["no-check"]) await check(env, registry, changed.text, options.config);
  changed.write();
  env.out.write(`login to ${plain(registry)} kept in ${plain(file)}\n`);
  return exitCodes.ok;
});

export const logout = implementCommand("logout", async (env, options, [host = "docker.io"]) => {
  const registry = registryOf(host);
  const file = await credentialsFileOf(env, options.config);
  const changed = withCredentials(file, registry, undefined);
  if (!changed.hadEntry) {
    env.out.writeError(`crib: ${plain(file)} has no login to ${plain(registry)}\n`);
    return exitCodes.ok;
  }
  changed.write();
  env.out.write(`login to ${plain(registry)} removed from ${plain(file)}\n`);
  return exitCodes.ok;
});

async function passwordOf(
  env: CommandEnv,
  options: {
    readonly password: string | undefined;
    readonly "password-stdin": boolean;
    readonly username: string | undefined;
  },
): Promise<string> {
  if (options["password-stdin"]) {
    if (options.password !== undefined) {
      throw new UsageError("--password and --password-stdin exclude each other");
    }
    if (options.username === undefined) throw new UsageError("--password-stdin needs --username");
    return (await readAll(env)).replace(/\r?\n$/, "");
  }
  if (options.password !== undefined) {
    env.out.writeError(
      "crib: a password on the command line is in the list of processes: --password-stdin\n",
    );
    return options.password;
  }
  return await ask(env, "Password: ", false);
}

const maxPasswordBytes = 64 * 1024;

async function readAll(env: CommandEnv): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const bytes = await abortable(env.input.read(), env.ctx.signal);
    if (bytes === undefined) return Buffer.concat(chunks).toString("utf8");
    size += bytes.byteLength;
    if (size > maxPasswordBytes) throw new UsageError("the password on stdin is over 64 KiB");
    chunks.push(bytes);
  }
}

const keys = { enter: [10, 13], erase: [8, 127], interrupt: 3, end: 4 } as const;

/** A line that a person types. A password is not shown. */
async function ask(env: CommandEnv, prompt: string, isShown: boolean): Promise<string> {
  if (!env.input.isTerminal) {
    throw new UsageError("stdin is no terminal to ask at: give --username and --password-stdin");
  }
  env.out.writeError(prompt);
  if (isShown) {
    const line = (await abortable(env.input.read(), env.ctx.signal)) ?? [];
    return Buffer.from(line).toString("utf8").trim();
  }
  using _keys = env.input.takeKeys();
  const typed: number[] = [];
  try {
    for (;;) {
      const bytes = (await abortable(env.input.read(), env.ctx.signal)) ?? [keys.end];
      for (const key of bytes) {
        if (key === keys.interrupt) throw new AppError("interrupted", { kind: "cancelled" });
        if (key === keys.end || keys.enter.some((one) => one === key)) {
          return Buffer.from(typed).toString("utf8");
        }
        if (keys.erase.some((one) => one === key)) typed.pop();
        else typed.push(key);
      }
    }
  } finally {
    env.out.writeError("\n");
  }
}

/** Asks the registry with the file as it would be. */
async function check(
  env: CommandEnv,
  registry: string,
  text: string,
  configFile: string | undefined,
): Promise<void> {
  const tools = await env.loadConfigTools();
  const response = await tools.checkLogin(env.ctx, registry, { credentials: text, configFile });
  if (response.ok) return;
  throw new AppError(`login to ${registry}: ${response.text}`, { kind: "unauthenticated" });
}
