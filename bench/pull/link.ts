import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { repositoryDir } from "../../test/parts/paths.ts";

const bitsPerSecond = 20_000_000;
const oneWayMs = 40;
const device = "link0";
/** What listens here is reached over the link at `farAddress`. */
const nearAddress = "10.9.0.1";
const farAddress = "10.9.0.2";

export interface Link extends AsyncDisposable {
  readonly listenAddress: string;
  /** The address as it is seen over the link. */
  overLink(host: string): string;
  /** How long so much takes at least. */
  leastSeconds(bytes: number): number;
}

/** A link of 20 Mbit/s and 80 ms there and back, in the network namespace that we are in. */
export async function openLink(): Promise<Link> {
  const dir = join(repositoryDir, ".cache/bench");
  mkdirSync(dir, { recursive: true });
  const program = join(dir, "link");
  run("gcc", "-O2", "-Wall", "-Werror", "-o", program, join(import.meta.dir, "link.c"));
  const child = Bun.spawn([program, device, String(bitsPerSecond), String(oneWayMs)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { done } = await child.stdout.values().next();
  if (done === true) throw new Error("the link did not start");
  run("ip", "address", "add", `${nearAddress}/24`, "dev", device);
  run("ip", "link", "set", device, "up");
  return {
    listenAddress: nearAddress,
    overLink: (host) => host.replace(nearAddress, farAddress),
    leastSeconds: (bytes) => (8 * bytes) / bitsPerSecond,
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await child.exited;
    },
  };
}

function run(...argv: readonly string[]): void {
  const { exitCode, stderr } = Bun.spawnSync([...argv], { stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
}
