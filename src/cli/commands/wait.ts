import { implementCommand } from "../command.ts";
import { eachOf } from "../each.ts";
import { getContainer } from "../find.ts";
import { awaitExitCode } from "../wait.ts";

export const wait = implementCommand("wait", async (env, _options, keys) => {
  using cri = env.connect();
  const { signal } = env.ctx;
  // Found before any of them is waited for: what is gone by then has been there.
  const ids = new Map<string, string>();
  return await eachOf(env, keys, async (key) => {
    const id = ids.get(key) ?? (await getContainer(cri, key, signal)).id;
    ids.set(key, id);
    env.out.write(`${await awaitExitCode(cri, id, signal)}\n`);
  });
});
