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
 * name and an exported `Main`. The rest of their module is used as it is, but for one of its packages: a plugin that
 * asks for addresses need not start the one that gives them when that is this executable.
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
        .replace(`"${module}/pkg/ipam"`, '"crib.local/embed/ipam"')
        .replace("func main() {\n\tskel.PluginMainFuncs(", () => {
          mains++;
          return "func Main() *types.Error {\n\treturn skel.PluginMainFuncsWithError(";
        });
      await Bun.write(join(directory, plugin, file), text);
    }
    if (mains !== 1) throw new Error(`${importPath}: ${mains} functions main`);
  }
  await Bun.write(join(directory, "main.go"), dispatcher(plugins.map(commandName)));
  await Bun.write(join(directory, "ipam", "ipam.go"), ipam);
}

function dispatcher(names: readonly string[]): string {
  return `package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/pkg/types"

${names.map((name) => `\t${identifier(name)} "crib.local/embed/${name}"`).join("\n")}
)

func main() {
	if err := call(filepath.Base(os.Args[0])); err != nil {
		_ = err.Print()
		os.Exit(1)
	}
}

func call(name string) *types.Error {
	switch name {
${names.map((name) => `\tcase "${name}":\n\t\treturn ${identifier(name)}.Main()`).join("\n")}
	default:
		fmt.Fprintf(os.Stderr, "%s: call this by a plugin's name: ${names.join(" ")}\\n", name)
		os.Exit(1)
		return nil
	}
}
`;
}

/** Instead of the module's `pkg/ipam`: calls host-local in this process where it would start this executable again. */
const ipam = `package ipam

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	upstream "github.com/containernetworking/plugins/pkg/ipam"

	hostlocal "crib.local/embed/host-local"
)

var ConfigureIface = upstream.ConfigureIface

func ExecAdd(plugin string, netconf []byte) (types.Result, error) {
	return invoke.DelegateAdd(context.TODO(), plugin, netconf, own)
}

func ExecCheck(plugin string, netconf []byte) error {
	return invoke.DelegateCheck(context.TODO(), plugin, netconf, own)
}

func ExecDel(plugin string, netconf []byte) error {
	return invoke.DelegateDel(context.TODO(), plugin, netconf, own)
}

func ExecStatus(plugin string, netconf []byte) error {
	return invoke.DelegateStatus(context.TODO(), plugin, netconf, own)
}

type exec struct {
	*invoke.RawExec
	version.PluginDecoder
}

var own = &exec{RawExec: &invoke.RawExec{Stderr: os.Stderr}}

func (e *exec) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	if filepath.Base(path) != "host-local" || !isThis(path) {
		return e.RawExec.ExecPlugin(ctx, path, stdin, environ)
	}
	// All else is in the environment as it is: a failed ADD calls DEL.
	defer os.Setenv("CNI_COMMAND", os.Getenv("CNI_COMMAND"))
	for _, variable := range environ {
		if command, isIt := strings.CutPrefix(variable, "CNI_COMMAND="); isIt {
			os.Setenv("CNI_COMMAND", command)
		}
	}
	return withStdio(stdin, hostlocal.Main)
}

func isThis(path string) bool {
	there, err := os.Stat(path)
	if err != nil {
		return false
	}
	here, err := os.Stat("/proc/self/exe")
	return err == nil && os.SameFile(there, here)
}

// What the call prints, of which there is no telling how much.
func withStdio(stdin []byte, call func() *types.Error) ([]byte, error) {
	input, feed, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer input.Close()
	output, sink, err := os.Pipe()
	if err != nil {
		feed.Close()
		return nil, err
	}
	defer output.Close()
	go func() {
		_, _ = feed.Write(stdin)
		feed.Close()
	}()
	var printed bytes.Buffer
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(&printed, output)
		close(done)
	}()
	oldStdin, oldStdout := os.Stdin, os.Stdout
	os.Stdin, os.Stdout = input, sink
	failure := call()
	os.Stdin, os.Stdout = oldStdin, oldStdout
	sink.Close()
	<-done
	if failure != nil {
		return nil, failure
	}
	return printed.Bytes(), nil
}
`;

/** A plugin's name as a Go package; the suffix keeps it apart from Go's words and from what the plugins import. */
function identifier(plugin: string): string {
  return `${plugin.replaceAll("-", "")}plugin`;
}
