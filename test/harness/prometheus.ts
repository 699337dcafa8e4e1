import { mkdirSync, writeFileSync } from "node:fs";
import { parts } from "../parts/paths.ts";
import { eventually } from "./eventually.ts";

/** Debian's Prometheus, scraping one target every second, until it is disposed of. */
export async function startPrometheus(
  dir: string,
  target: string,
  ruleFile: string,
): Promise<AsyncDisposable & { query(promql: string): Promise<readonly PromSample[]> }> {
  mkdirSync(dir, { recursive: true });
  writeFileSync(
    `${dir}/prometheus.yml`,
    JSON.stringify({
      global: { scrape_interval: "1s", evaluation_interval: "1s" },
      rule_files: [ruleFile],
      scrape_configs: [{ job_name: "crib", static_configs: [{ targets: [target] }] }],
    }),
  );
  const server = Bun.spawn(
    [
      parts.prometheus.server,
      `--config.file=${dir}/prometheus.yml`,
      `--storage.tsdb.path=${dir}/data`,
      "--web.listen-address=127.0.0.1:0",
      "--log.format=json",
    ],
    { stdout: "ignore", stderr: Bun.file(`${dir}/log`) },
  );
  const stop = async () => {
    server.kill();
    await server.exited;
  };
  try {
    const address = await eventually(async () => {
      const log = await Bun.file(`${dir}/log`).text();
      // A line of its own in JSON; the first of two says what was asked for.
      const listening = log.split("\n").find((text) => text.includes('"msg":"Listening on"'));
      const line = /"address":"([^"]+)"/u.exec(listening ?? "")?.[1];
      if (line === undefined) throw new Error(`Prometheus does not listen: ${log}`);
      return line;
    }, 60_000);
    return {
      async query(promql) {
        const url = `http://${address}/api/v1/query?query=${encodeURIComponent(promql)}`;
        const body = (await (await fetch(url)).json()) as QueryResponse;
        return body.data.result;
      },
      [Symbol.asyncDispose]: stop,
    };
  } catch (err) {
    await stop();
    throw err;
  }
}

export interface PromSample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

interface QueryResponse {
  readonly data: { readonly result: readonly PromSample[] };
}
