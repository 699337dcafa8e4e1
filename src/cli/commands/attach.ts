import { defineCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { getContainer } from "../find.ts";
import { attachTo, readStreamKinds } from "../streams/attach.ts";
import { defaultDetachKeys, parseDetachKeys } from "../streams/detach-keys.ts";
import { awaitExitCode } from "../wait.ts";

export const attach = defineCommand({
  name: "attach",
  group: "containers and pods",
  summary: "talk to a running container's own program",
  usage: "CONTAINER",
  details: [
    "Shows what the program writes from now on and gives it what is typed, where the container was made with stdin",
    "(`crib run -i`). Of a container with a terminal every key goes to the program, Ctrl-C too; the keys to leave",
    "are ctrl-p ctrl-q. Without a terminal Ctrl-C leaves. The program goes on either way; answers its exit code",
    "if it ends, and 0 after the keys.",
  ].join(" "),
  examples: [
    "crib attach web",
    "crib attach --no-stdin web | grep error",
    "crib attach --detach-keys ctrl-],q web",
  ],
  options: {
    "no-stdin": { kind: "flag", help: "only look" },
    "detach-keys": {
      kind: "value",
      argument: "KEYS",
      help: `keys to leave (${defaultDetachKeys}), or none`,
    },
  },
  positionals: { min: 1, max: 1 },
  async run(env, options, [key = ""]) {
    const detachKeys = parseDetachKeys(options["detach-keys"] ?? defaultDetachKeys);
    using cri = env.connect();
    const { signal } = env.ctx;
    const { id } = await getContainer(cri, key, signal);
    const { stdin, tty } = await readStreamKinds(cri, id, signal);
    const end = await attachTo(env, cri, id, {
      stdin: stdin && !options["no-stdin"],
      tty,
      // Elsewhere they are bytes like any others, of a file perhaps.
      detachKeys: tty ? detachKeys : undefined,
    });
    return end.kind === "detached" ? exitCodes.ok : await awaitExitCode(cri, id, signal);
  },
});
