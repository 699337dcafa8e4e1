import { implementCommand } from "../command.ts";
import { eachOf } from "../each.ts";
import { getContainer } from "../find.ts";
import { parseSignal } from "../signal.ts";

export const kill = implementCommand("kill", async (env, options, keys) => {
  const signalNumber = parseSignal("--signal", options.signal ?? "KILL");
  using cri = env.connect();
  const { signal } = env.ctx;
  return await eachOf(env, keys, async (key) => {
    const { id: containerId } = await getContainer(cri, key, signal);
    await cri.admin.signalContainer({ containerId, signal: signalNumber }, { signal });
    env.out.write(`${key}\n`);
  });
});
