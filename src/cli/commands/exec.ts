import { defineCommand } from "../command.ts";
import { UsageError } from "../failure.ts";
import { getContainer } from "../find.ts";

const maxSeconds = 2 ** 31 - 1;

export const exec = defineCommand({
  name: "exec",
  group: "containers and pods",
  summary: "run a command in a running container and wait for it",
  usage: "CONTAINER COMMAND [ARGUMENT...]",
  details:
    "Prints the command's stdout and stderr when it has ended (at most 15 MiB) and answers its exit\ncode. There is no stdin and no terminal yet: a shell needs a command, as in `sh -c ...`.",
  examples: ["crib exec web ls -l /", "crib exec --timeout 5 web sh -c 'echo $HOSTNAME'"],
  options: {
    timeout: { kind: "value", argument: "SECONDS", help: "kill the command after so long" },
    interactive: { kind: "flag", short: "i", help: "(not yet)" },
    tty: { kind: "flag", short: "t", help: "(not yet)" },
  },
  positionals: { min: 2, max: Number.POSITIVE_INFINITY, commandAfter: 1 },
  async run(env, options, [key = "", ...cmd]) {
    if (options.interactive || options.tty) {
      throw new UsageError("exec has no stdin and no terminal yet: leave -i and -t away");
    }
    const timeout = parseTimeout(options.timeout);
    using cri = env.connect();
    const { signal } = env.ctx;
    const { id } = await getContainer(cri, key, signal);
    const result = await cri.runtime.execSync({ containerId: id, cmd, timeout }, { signal });
    env.out.write(result.stdout);
    env.out.writeError(result.stderr);
    return result.exitCode & 0xff;
  },
});

function parseTimeout(text: string | undefined): bigint {
  if (text === undefined) return 0n;
  const seconds = Number(text);
  if (!/^\d+$/.test(text) || seconds < 1 || seconds > maxSeconds) {
    throw new UsageError(`--timeout ${text}: not a number of seconds`);
  }
  return BigInt(seconds);
}
