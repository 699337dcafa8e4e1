import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { cached, embed } from "../cache.ts";
import { run } from "../command.ts";
import type { Target } from "../target.ts";
import { commandName, goBuild, goInputs, goNotices, pinnedVersion } from "./go.ts";
import type { Part } from "./part.ts";

const module = "github.com/containernetworking/plugins";
const plugins = [
  "main/bridge",
  "main/loopback",
  "main/ptp",
  "ipam/host-local",
  "ipam/static",
  "meta/bandwidth",
  "meta/firewall",
  "meta/portmap",
  "meta/tuning",
].map((path) => `${module}/plugins/${path}`);

/**
 * All plugins in one executable that acts by the name it is called by: nine times the Go runtime and netlink library
 * would be 36 MB. Each plugin is a `package main`, which nothing can import, so copies of their sources get a package
 * name and an exported `Main`. The rest of their module is used as it is.
 */
export async function buildCniPlugins(target: Target): Promise<Part> {
  const version = await pinnedVersion(module);
  const recipe = await Bun.file(import.meta.path).text();
  const inputs = [...(await goInputs(target)), recipe];
  const built = await cached(`cni-plugins${target.suffix}`, inputs, async (directory) => {
    const source = join(directory, "source");
    await makeSource(target, source);
    await goBuild(target, {
      from: ".",
      output: join(directory, "plugins"),
      module: source,
      linkerFlags: [`-X ${module}/pkg/utils/buildversion.BuildVersion=v${version}`],
    });
    await Bun.write(join(directory, "notices"), await goNotices(target, ".", source));
  });
  return {
    versions: { "cni-plugins": version },
    files: [
      { path: "cni/plugins", source: join(built, "plugins"), mode: "0555" },
      ...plugins.map((path) => ({ path: `cni/${commandName(path)}`, link: "plugins" })),
    ],
    notices: join(built, "notices"),
  };
}

async function makeSource(target: Target, directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  await copyFile(join(embed, "go.mod"), join(directory, "go.mod"));
  await copyFile(join(embed, "go.sum"), join(directory, "go.sum"));
  const format = '{{.ImportPath}} {{.Dir}} {{join .GoFiles ","}}';
  const list = await run(["go", "list", "-f", format, ...plugins], {
    cwd: embed,
    env: target.goEnv,
  });
  for (const line of list.trim().split("\n")) {
    const [importPath = "", from = "", files = ""] = line.split(" ");
    const plugin = commandName(importPath);
    let mains = 0;
    for (const file of files.split(",")) {
      const text = (await Bun.file(join(from, file)).text())
        .replace(/^package main$/m, `package ${identifier(plugin)}`)
        .replace(/^func main\(\)/m, () => {
          mains++;
          return "func Main()";
        });
      await Bun.write(join(directory, plugin, file), text);
    }
    if (mains !== 1) throw new Error(`${importPath}: ${mains} functions main`);
  }
  await Bun.write(join(directory, "main.go"), dispatcher(plugins.map(commandName)));
}

function dispatcher(names: readonly string[]): string {
  return `package main

import (
	"fmt"
	"os"
	"path/filepath"

${names.map((name) => `\t${identifier(name)} "crib.local/embed/${name}"`).join("\n")}
)

func main() {
	switch name := filepath.Base(os.Args[0]); name {
${names.map((name) => `\tcase "${name}":\n\t\t${identifier(name)}.Main()`).join("\n")}
	default:
		fmt.Fprintf(os.Stderr, "%s: call this by a plugin's name: ${names.join(" ")}\\n", name)
		os.Exit(1)
	}
}
`;
}

/** A plugin's name as a Go package; the suffix keeps it apart from Go's words and from what the plugins import. */
function identifier(plugin: string): string {
  return `${plugin.replaceAll("-", "")}plugin`;
}
