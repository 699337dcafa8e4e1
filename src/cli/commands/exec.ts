import type { CriClient } from "../client.ts";
import { type CommandEnv, implementCommand } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { getContainer } from "../find.ts";
import { requireTerminal } from "../input.ts";
import { talk } from "../streams/talk.ts";

const maxSeconds = 2 ** 31 - 1;

export const exec = implementCommand("exec", async (env, options, [key = "", ...cmd]) => {
  const { interactive: stdin, tty } = options;
  if (stdin && tty) requireTerminal(env.input);
  const timeout = parseTimeout(options.timeout);
  if (timeout > 0n && (stdin || tty)) {
    throw new UsageError("--timeout excludes --interactive and --tty");
  }
  using cri = env.connect();
  const { signal } = env.ctx;
  const { id: containerId } = await getContainer(cri, key, signal);
  if (timeout > 0n) return await execSync(env, cri, { containerId, cmd, timeout });
  const streams = { stdin, stdout: true, stderr: !tty, tty };
  const { url } = await cri.runtime.exec({ containerId, cmd, ...streams }, { signal });
  const end = await talk(env, url, { stdin, terminal: tty });
  return end.kind === "exit" ? end.exitCode & 0xff : exitCodes.ok;
});

/** The only call of CRI that kills what takes too long. */
async function execSync(
  env: CommandEnv,
  cri: CriClient,
  request: { readonly containerId: string; readonly cmd: string[]; readonly timeout: bigint },
): Promise<number> {
  const result = await cri.runtime.execSync(request, { signal: env.ctx.signal });
  env.out.write(result.stdout);
  env.out.writeError(result.stderr);
  return result.exitCode & 0xff;
}

function parseTimeout(text: string | undefined): bigint {
  if (text === undefined) return 0n;
  const seconds = Number(text);
  if (!/^\d+$/.test(text) || seconds < 1 || seconds > maxSeconds) {
    throw new UsageError(`--timeout ${text}: not a number of seconds`);
  }
  return BigInt(seconds);
}
