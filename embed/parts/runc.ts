import { join } from "node:path";
import { cached } from "../cache.ts";
import { run } from "../command.ts";
import { onlyPackage, packageInputs, unpackPackages } from "../debian.ts";
import type { Target } from "../target.ts";
import { goBuild, goInputs, goNotices, pinnedVersion } from "./go.ts";
import type { Part } from "./part.ts";

const runc = "github.com/opencontainers/runc";

/**
 * Static and with seccomp, as upstream's `make static`, but not position-independent: relocating itself takes 0.6 of
 * the 3.4 ms that every start costs, and there are several starts for each container.
 */
export async function buildRunc(target: Target): Promise<Part> {
  const version = await pinnedVersion(runc);
  const env = target.isNative ? {} : await findLibseccomp(target);
  const libseccomp = (await run(["pkg-config", "--modversion", "libseccomp"], { env })).trim();
  const recipe = await Bun.file(import.meta.path).text();
  const built = await cached(
    `runc${target.suffix}`,
    [...(await goInputs(target)), libseccomp, recipe],
    async (directory) => {
      const output = join(directory, "runc");
      await goBuild(target, {
        from: runc,
        output,
        cgo: true,
        tags: ["seccomp", "urfave_cli_no_docs", "netgo", "osusergo"],
        linkerFlags: ["-linkmode external", "-extldflags -static"],
        env,
      });
      if (target.isNative) await tryOut(output, version);
      await Bun.write(join(directory, "notices"), await goNotices(target, runc));
    },
  );
  return {
    versions: { runc: version, libseccomp },
    files: [{ path: "runc", source: join(built, "runc"), mode: "0555" }],
    notices: join(built, "notices"),
  };
}

async function tryOut(executable: string, version: string): Promise<void> {
  const features: unknown = JSON.parse(await run([executable, "features"]));
  if (!JSON.stringify(features).includes('"seccomp":{"enabled":true')) {
    throw new Error("runc has no seccomp");
  }
  const says = await run([executable, "--version"]);
  if (!says.startsWith(`runc version ${version}\n`)) throw new Error(`runc says it is ${says}`);
}

/** libseccomp for another processor, from its Debian package: what makes pkg-config find it. */
async function findLibseccomp(target: Target): Promise<Readonly<Record<string, string>>> {
  const packages = await onlyPackage(target, "libseccomp-dev");
  const inputs = [...packageInputs(packages), "unpacked"];
  const root = await cached(`libseccomp${target.suffix}`, inputs, async (directory) => {
    await unpackPackages(target, packages, directory);
  });
  const [found] = await Array.fromAsync(
    new Bun.Glob("usr/lib/*-linux-gnu/pkgconfig").scan({ cwd: root, onlyFiles: false }),
  );
  if (found === undefined) throw new Error("libseccomp-dev has nothing for pkg-config");
  return { PKG_CONFIG_LIBDIR: join(root, found), PKG_CONFIG_SYSROOT_DIR: root };
}
