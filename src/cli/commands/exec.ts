import type { CriClient } from "../client.ts";
import { type CommandEnv, defineCommand } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { getContainer } from "../find.ts";
import { requireTerminal } from "../input.ts";
import { talk } from "../streams/talk.ts";

const maxSeconds = 2 ** 31 - 1;

export const exec = defineCommand({
  name: "exec",
  group: "containers and pods",
  summary: "run a command in a running container and wait for it",
  usage: "CONTAINER COMMAND [ARGUMENT...]",
  details: [
    "Answers the command's exit code. Its output comes as it is written, however much it is. With -it every key",
    "goes to the command, Ctrl-C too. Without a terminal Ctrl-C ends crib alone: the command loses its pipes.",
    "Only --timeout kills it (and then prints at most 15 MiB, when it has ended).",
  ].join(" "),
  examples: [
    "crib exec web ls -l /",
    "crib exec -it web sh",
    "tar c site | crib exec -i web tar x -C /srv",
    "crib exec --timeout 5 web sh -c 'echo $HOSTNAME'",
  ],
  options: {
    interactive: { kind: "flag", short: "i", help: "give the command this stdin" },
    tty: { kind: "flag", short: "t", help: "give the command a terminal" },
    timeout: { kind: "value", argument: "SECONDS", help: "kill the command after so long" },
  },
  positionals: { min: 2, max: Number.POSITIVE_INFINITY, commandAfter: 1 },
  async run(env, options, [key = "", ...cmd]) {
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
  },
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
