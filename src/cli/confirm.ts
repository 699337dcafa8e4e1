import { abortable } from "../lib/abortable.ts";
import type { CommandEnv } from "./command.ts";
import { UsageError } from "./failure.ts";

/** Asks a person whether to go on. Where nobody can be asked, `option` has to say it. */
export async function confirm(env: CommandEnv, what: string, option = "--yes"): Promise<boolean> {
  if (!env.input.isTerminal) {
    throw new UsageError(`stdin is no terminal to ask at: give ${option}`);
  }
  env.out.writeError(`${what}\nGo on? [y/N] `);
  const response = (await abortable(env.input.read(), env.ctx.signal)) ?? [];
  return /^y(es)?$/i.test(Buffer.from(response).toString("utf8").trim());
}
