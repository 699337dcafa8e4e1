import type { CriClient } from "../client.ts";
import { type CommandEnv, implementCommand } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { plain } from "../output/output.ts";
import { bashCompletion } from "../pages/bash.ts";
import { fishCompletion } from "../pages/fish.ts";
import { zshCompletion } from "../pages/zsh.ts";

const scripts: Readonly<Record<string, () => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
};

export const completion = implementCommand(
  "completion",
  async (env, _options, [verb = "", kind]) => {
    const script = scripts[verb];
    if (script !== undefined) {
      if (kind !== undefined) throw new UsageError(`unexpected argument "${plain(kind)}"`);
      env.out.write(script());
      return exitCodes.ok;
    }
    const list =
      kind === undefined ? undefined : Object.hasOwn(lists, kind) ? lists[kind] : undefined;
    if (list === undefined) {
      throw new UsageError(`"${plain(kind ?? "")}": not ${Object.keys(lists).join(", ")}`);
    }
    // A shell that completes has no use for errors.
    const names = await namesOf(env, list).catch(() => []);
    for (const name of new Set(names)) if (/^[\x21-\x7e]+$/.test(name)) env.out.write(`${name}\n`);
    return exitCodes.ok;
  },
);

type List = (
  cri: CriClient,
  options: { readonly signal: AbortSignal; readonly timeoutMs: number },
) => Promise<readonly string[]>;

const timeoutMs = 2000;

async function namesOf(env: CommandEnv, list: List): Promise<readonly string[]> {
  using cri = env.connect();
  return await list(cri, { signal: env.ctx.signal, timeoutMs });
}

const lists: Readonly<Record<string, List>> = {
  container: async (cri, options) => {
    const { containers } = await cri.runtime.listContainers({}, options);
    return containers.map(({ metadata }) => metadata?.name ?? "");
  },
  pod: async (cri, options) => {
    const { items } = await cri.runtime.listPodSandbox({}, options);
    return items.map(({ metadata }) => metadata?.name ?? "");
  },
  target: async (cri, options) => {
    const { items } = await cri.runtime.listPodSandbox({}, options);
    const { containers } = await cri.runtime.listContainers({}, options);
    return [...items, ...containers].map(({ metadata }) => metadata?.name ?? "");
  },
  volume: async (cri, options) => {
    const { volumes } = await cri.admin.listVolumes({}, options);
    return volumes.map(({ name }) => name);
  },
  image: async (cri, options) => {
    const { images } = await cri.images.listImages({}, options);
    return images.flatMap(({ repoTags }) => repoTags);
  },
};
