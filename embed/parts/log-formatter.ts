import { join } from "node:path";
import { cached, embed } from "../cache.ts";
import { run } from "../command.ts";
import type { Target } from "../target.ts";
import type { Part } from "./part.ts";

const library = "libcrib-log.so";

/** The part of the monitor that looks at every byte of a container's output. It needs nothing but the C library. */
export async function buildLogFormatter(target: Target): Promise<Part> {
  const source = join(embed, "log/cri-log.c");
  const inputs = [await Bun.file(source).text(), await Bun.file(import.meta.path).text()];
  const built = await cached(`log${target.suffix}`, inputs, async (directory) => {
    await run([
      ...[target.gcc, "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-s"],
      ...["-Wl,--build-id=none,-z,noexecstack,-z,defs"],
      ...["-o", join(directory, library), source],
    ]);
  });
  return {
    versions: {},
    files: [{ path: `lib/${library}`, source: join(built, library), mode: "0444" }],
  };
}
