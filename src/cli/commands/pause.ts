import { type CommandEnv, implementCommand } from "../command.ts";
import { eachOf } from "../each.ts";
import { getContainer } from "../find.ts";

export const pause = implementCommand("pause", (env, _options, keys) => {
  return change(env, keys, "pauseContainer");
});

export const unpause = implementCommand("unpause", (env, _options, keys) => {
  return change(env, keys, "unpauseContainer");
});

async function change(
  env: CommandEnv,
  keys: readonly string[],
  call: "pauseContainer" | "unpauseContainer",
): Promise<number> {
  using cri = env.connect();
  const { signal } = env.ctx;
  return await eachOf(env, keys, async (key) => {
    const { id: containerId } = await getContainer(cri, key, signal);
    await cri.admin[call]({ containerId }, { signal });
    env.out.write(`${key}\n`);
  });
}
