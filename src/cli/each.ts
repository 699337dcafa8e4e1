import type { CommandEnv } from "./command.ts";
import { describeFailure, exitCodeOf, exitCodes } from "./failure.ts";

/** Does `act` for every argument, reports each failure, and returns the first failure's exit code. */
export async function eachOf(
  env: CommandEnv,
  keys: readonly string[],
  act: (key: string) => Promise<void>,
): Promise<number> {
  let code: number = exitCodes.ok;
  for (const key of keys) {
    try {
      await act(key);
    } catch (err) {
      // What concerns all arguments alike is reported once, by the caller.
      const own = exitCodeOf(err);
      const isCommon = own === exitCodes.unavailable || own === exitCodes.interrupted;
      if (keys.length === 1 || isCommon) throw err;
      env.out.writeError(`crib: ${describeFailure(err)}\n`);
      if (code === exitCodes.ok) code = own;
    }
  }
  return code;
}
