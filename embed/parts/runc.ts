import { join } from "node:path";
import { cached } from "../cache.ts";
import { run } from "../command.ts";
import { goBuild, goInputs, goNotices, pinnedVersion } from "./go.ts";
import type { Part } from "./part.ts";

const runc = "github.com/opencontainers/runc";

/**
 * Static and with seccomp, as upstream's `make static`, but not position-independent: relocating itself takes 0.6 of
 * the 3.4 ms that every start costs, and there are several starts for each container.
 */
export async function buildRunc(): Promise<Part> {
  const version = await pinnedVersion(runc);
  const libseccomp = (await run(["pkg-config", "--modversion", "libseccomp"])).trim();
  const recipe = await Bun.file(import.meta.path).text();
  const built = await cached(
    "runc",
    [...(await goInputs()), libseccomp, recipe],
    async (directory) => {
      const output = join(directory, "runc");
      await goBuild({
        target: runc,
        output,
        cgo: true,
        tags: ["seccomp", "urfave_cli_no_docs", "netgo", "osusergo"],
        linkerFlags: ["-linkmode external", "-extldflags -static"],
      });
      const features: unknown = JSON.parse(await run([output, "features"]));
      if (!JSON.stringify(features).includes('"seccomp":{"enabled":true')) {
        throw new Error("runc has no seccomp");
      }
      const says = await run([output, "--version"]);
      if (!says.startsWith(`runc version ${version}\n`)) throw new Error(`runc says it is ${says}`);
      await Bun.write(join(directory, "notices"), await goNotices(runc));
    },
  );
  return {
    versions: { runc: version, libseccomp },
    files: [{ path: "runc", source: join(built, "runc"), mode: "0555" }],
    notices: join(built, "notices"),
  };
}
