import { resolve } from "node:path";

const binary = resolve(import.meta.dir, "../../.cache/parts/bin/crictl");

/** Runs the real crictl; returns stdout without the last newline, or throws with what it wrote. */
export async function crictl(socket: string, ...args: readonly string[]): Promise<string> {
  const child = Bun.spawn(
    [
      binary,
      "--runtime-endpoint",
      `unix://${socket}`,
      "--image-endpoint",
      `unix://${socket}`,
      "--timeout",
      "120s",
      ...args,
    ],
    { stdio: ["ignore", "pipe", "pipe"], env: { PATH: process.env["PATH"] ?? "" } },
  );
  const [stdout, stderr, exitCode] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  if (exitCode !== 0)
    throw new Error(`crictl ${args.join(" ")} exited with ${exitCode}: ${stderr}${stdout}`);
  return stdout.trimEnd();
}
