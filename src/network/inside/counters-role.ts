import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { describe } from "../../lib/errors.ts";
import { asList, asString, parseJson } from "../../lib/json.ts";
import { CLONE_NEWNET, enterNamespace } from "../../os/security/namespaces.ts";

/** How long the descriptors stay here for the daemon to take them, longer than it waits. It ends us as soon as it has. */
const holdMs = 60_000;

/**
 * The role `crib counters`: reads paths of network namespaces (JSON) from stdin and opens each one's /proc/net/dev,
 * which goes on showing that namespace wherever it is read. Writes a JSON list with a descriptor or why there is none.
 */
export function runCounters(_argv: readonly string[]): number {
  const paths = asList(
    parseJson(readFileSync(0), "paths", { maxBytes: 1 << 20 }),
    "paths",
    asString,
  );
  writeFileSync(1, JSON.stringify(paths.map(open)));
  closeSync(1);
  Bun.sleepSync(holdMs);
  return 0;
}

function open(path: string): number | string {
  try {
    enterNamespace(path, CLONE_NEWNET);
    return openSync("/proc/thread-self/net/dev", "r");
  } catch (err) {
    return describe(err);
  }
}
