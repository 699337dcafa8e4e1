import { implementCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { getContainer } from "../find.ts";
import { attachTo, readStreamKinds } from "../streams/attach.ts";
import { defaultDetachKeys, parseDetachKeys } from "../streams/detach-keys.ts";
import { awaitExitCode } from "../wait.ts";

export const attach = implementCommand("attach", async (env, options, [key = ""]) => {
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
});
