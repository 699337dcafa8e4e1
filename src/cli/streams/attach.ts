import { asObject, parseJson } from "../../lib/json.ts";
import type { CriClient } from "../client.ts";
import type { CommandEnv } from "../command.ts";
import { shortId } from "../output/format.ts";
import type { DetachKeys } from "./detach-keys.ts";
import { type TalkEnd, talk } from "./talk.ts";

export interface AttachToOptions {
  readonly stdin: boolean;
  readonly tty: boolean;
  readonly detachKeys: DetachKeys | undefined;
  readonly onOpen?: () => void;
}

/** Talks to a container's own program until it ends or the person leaves, and says so then. */
export async function attachTo(
  env: CommandEnv,
  cri: CriClient,
  containerId: string,
  options: AttachToOptions,
): Promise<TalkEnd> {
  const { stdin, tty, detachKeys, onOpen } = options;
  const streams = { stdin, stdout: true, stderr: !tty, tty };
  const { signal } = env.ctx;
  const { url } = await cri.runtime.attach({ containerId, ...streams }, { signal });
  const open = onOpen === undefined ? {} : { onOpen };
  const end = await talk(env, url, { stdin, terminal: tty, detachKeys, ...open });
  if (end.kind === "detached") env.out.writeError(`\ndetached from ${shortId(containerId)}\n`);
  return end;
}

const maxInfoBytes = 1024 * 1024;

/** Whether a container has a terminal, and whether it takes input: it is in crib's verbose status, and nowhere in CRI. */
export async function readStreamKinds(
  cri: CriClient,
  containerId: string,
  signal: AbortSignal,
): Promise<{ readonly stdin: boolean; readonly tty: boolean }> {
  const response = await cri.runtime.containerStatus({ containerId, verbose: true }, { signal });
  const text = response.info["info"] ?? "{}";
  const info = asObject(parseJson(text, "info", { maxBytes: maxInfoBytes }), "info");
  return { stdin: info["stdin"] !== false, tty: info["tty"] === true };
}
