import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { silentLog } from "../../lib/log.ts";
import { watchImports } from "./watch-imports.ts";

test("watchImports() looks at once, after a change, and again after a failure, until it is ended", async () => {
  const dir = mkdtempSync("/tmp/crib-watch-");
  using _dir = { [Symbol.dispose]: () => rmSync(dir, { recursive: true }) };
  const end = new AbortController();
  const looks: boolean[] = [];
  const looked = [0, 1, 2].map(() => Promise.withResolvers<void>());
  const times = { soonMs: 10, maxRetryMs: 20, idleMs: 60_000 };
  const watching = watchImports(
    { signal: end.signal, log: silentLog },
    `${dir}/images`,
    ({ isFirst }) => {
      looks.push(isFirst);
      looked[looks.length - 1]?.resolve();
      if (looks.length === 2) return Promise.reject(new Error("disk"));
      return Promise.resolve({ isUnsettled: false });
    },
    times,
  );
  await looked[0]?.promise;
  writeFileSync(`${dir}/images/a.tar`, "a");
  await looked[2]?.promise;
  end.abort();
  await watching;
  expect(looks).toEqual([true, false, false]);
});
