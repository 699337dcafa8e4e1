import { version as cribVersion, parts } from "../../version.ts";
import { implementCommand } from "../command.ts";
import { exitCodes, failureKind } from "../failure.ts";
import { wantsJson } from "../output/list-output.ts";
import { writeTable } from "../output/table.ts";

export const version = implementCommand("version", async (env, options) => {
  const asJson = wantsJson(options.output);
  using cri = env.connect();
  const daemon = await cri.runtime.version({}, { signal: env.ctx.signal }).catch((err) => {
    if (failureKind(err) === "unavailable") return undefined;
    throw err;
  });
  if (asJson) {
    const { runtimeName, runtimeVersion, runtimeApiVersion } = daemon ?? {};
    const shown = daemon && { runtimeName, runtimeVersion, runtimeApiVersion };
    const all = { crib: cribVersion, parts, daemon: shown ?? null };
    env.out.write(`${JSON.stringify(all, null, 2)}\n`);
    return exitCodes.ok;
  }
  writeTable(
    env.out,
    ["PART", "VERSION"],
    [
      ["crib", cribVersion],
      ...Object.entries(parts).filter(([name]) => name !== "crib"),
      ["daemon", daemon === undefined ? "not running" : describe(daemon)],
    ],
  );
  return exitCodes.ok;
});

function describe(daemon: {
  readonly runtimeName: string;
  readonly runtimeVersion: string;
  readonly runtimeApiVersion: string;
}): string {
  return `${daemon.runtimeName} ${daemon.runtimeVersion} (CRI ${daemon.runtimeApiVersion})`;
}
