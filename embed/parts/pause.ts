import { join } from "node:path";
import { cached, embed } from "../cache.ts";
import { run } from "../command.ts";
import type { Part } from "./part.ts";

/** The first process of a pod that shares a PID namespace. */
export async function buildPause(version: string): Promise<Part> {
  const source = join(embed, "pause/pause.c");
  const inputs = [await Bun.file(source).text(), await Bun.file(import.meta.path).text()];
  const built = await cached("pause", inputs, async (directory) => {
    await run([
      ...["gcc", "-Os", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-mgeneral-regs-only"],
      ...["-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-fcf-protection=none"],
      ...["-static", "-nostdlib", "-s", "-Wl,--build-id=none,-z,noexecstack"],
      ...["-o", join(directory, "pause"), source],
    ]);
  });
  return {
    versions: { pause: version },
    files: [{ path: "pause", source: join(built, "pause"), mode: "0555" }],
  };
}
