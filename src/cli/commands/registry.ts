import { type ExplainedHost, implementCommand } from "../command.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { wantsJson } from "../output/list-output.ts";
import { type Output, plain } from "../output/output.ts";

export const registry = implementCommand(
  "registry",
  async (env, { output, config, offline }, [action, name = ""]) => {
    if (action !== "check") throw new UsageError("not `check HOST`");
    const asJson = wantsJson(output);
    const tools = await env.loadConfigTools();
    const hosts = await tools.explainRegistry(env.ctx, name, {
      configFile: config,
      asks: !offline,
    });
    if (asJson) env.out.write(`${JSON.stringify(hosts, null, 2)}\n`);
    else {
      for (const [i, host] of hosts.entries()) writeHost(env.out, i + 1, host);
      for (const problem of hosts[0]?.problems ?? []) {
        env.out.write(`${env.out.paint("red", "left out")} ${plain(problem)}\n`);
      }
      env.out.write(
        `${env.out.paint("bold", "policy")} ${plain(await tools.explainPolicy(name, config))}\n`,
      );
    }
    return offline || hosts.some(({ response }) => response?.ok) ? exitCodes.ok : exitCodes.failed;
  },
);

function writeHost(out: Output, place: number, host: ExplainedHost): void {
  const kind = host.isMirror ? "mirror" : "the registry itself";
  out.write(`${place}. ${out.paint("bold", plain(host.url))} (${kind})\n`);
  const rows: readonly (readonly [string, string | undefined])[] = [
    ["configured by", host.file ?? "nothing: these are the defaults"],
    ["used to", host.capabilities.join(", ")],
    ["repository", host.repository],
    ["trusts", ["the node's authorities", ...host.ca].join(", ")],
    ["shows", host.clientCertificates.join(", ")],
    ["verification", host.skipVerify ? "none (skip_verify)" : ""],
    ["headers", host.headers.join(", ")],
    ["proxy", host.proxy],
    ["credentials", host.credentials ?? "none, but what a pull brings"],
  ];
  for (const [label, value = ""] of rows) {
    if (value !== "") out.write(`   ${label.padEnd(13)}  ${plain(value)}\n`);
  }
  if (host.response === undefined) return;
  const style = host.response.ok ? "green" : "red";
  out.write(`   ${"asked now".padEnd(13)}  ${out.paint(style, plain(host.response.text))}\n`);
}
