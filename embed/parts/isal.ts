import { copyFile, realpath, rm } from "node:fs/promises";
import { join } from "node:path";
import { cached } from "../cache.ts";
import { onlyPackage, packageInputs, unpackPackages, versionOf } from "../debian.ts";
import type { Target } from "../target.ts";
import { notice } from "./go.ts";
import type { Part } from "./part.ts";

const library = "libisal.so.2";

/** ISA-L from its Debian package: the gunzip of `crib unpack`. It needs nothing but the C library. */
export async function fetchIsal(target: Target): Promise<Part> {
  const packages = await onlyPackage(target, "libisal2");
  const recipe = await Bun.file(import.meta.path).text();
  const built = await cached(
    `isal${target.suffix}`,
    [...packageInputs(packages), recipe],
    async (directory) => {
      const root = join(directory, "root");
      await unpackPackages(target, packages, root);
      const [found] = await Array.fromAsync(
        new Bun.Glob(`usr/lib/*-linux-gnu/${library}`).scan({ cwd: root, onlyFiles: false }),
      );
      if (found === undefined) throw new Error(`libisal2 has no ${library}`);
      await copyFile(await realpath(join(root, found)), join(directory, library));
      const copyright = await Bun.file(join(root, "usr/share/doc/libisal2/copyright")).text();
      await Bun.write(join(directory, "notices"), notice("libisal2 (Debian)", copyright));
      await rm(root, { recursive: true });
    },
  );
  return {
    versions: { isal: versionOf(packages, "libisal2") },
    files: [{ path: `lib/${library}`, source: join(built, library), mode: "0444" }],
    notices: join(built, "notices"),
  };
}
