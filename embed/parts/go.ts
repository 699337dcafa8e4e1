import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { embed } from "../cache.ts";
import { run } from "../command.ts";
import type { Target } from "../target.ts";

const goMod = join(embed, "go.mod");
const goSum = join(embed, "go.sum");

/** What a Go program built from the pinned modules depends on, beside its own source. */
export async function goInputs(target: Target): Promise<string[]> {
  return [
    await Bun.file(goMod).text(),
    await Bun.file(goSum).text(),
    await run(["go", "env", "GOVERSION", "GOARCH"], { cwd: embed, env: target.goEnv }),
  ];
}

/** The version that go.mod pins. */
export async function pinnedVersion(module: string): Promise<string> {
  const version = await run(["go", "list", "-m", "-f", "{{.Version}}", module], { cwd: embed });
  return version.trim().replace(/^v/, "");
}

export async function goBuild(
  target: Target,
  options: {
    /** A package's path. */
    readonly from: string;
    readonly output: string;
    readonly module?: string;
    readonly cgo?: boolean;
    readonly tags?: readonly string[];
    readonly linkerFlags?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
  },
): Promise<void> {
  const cgo = options.cgo === true ? "1" : "0";
  await run(
    [
      ...["go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false"],
      ...["-tags", (options.tags ?? []).join(" ")],
      ...["-ldflags", ["-s", "-w", ...(options.linkerFlags ?? [])].join(" ")],
      ...["-o", options.output, options.from],
    ],
    {
      cwd: options.module ?? embed,
      env: { ...target.goEnv, ...options.env, CGO_ENABLED: cgo },
    },
  );
}

/** The licences of every module that is linked into the program. */
export async function goNotices(
  target: Target,
  from: string,
  module: string = embed,
): Promise<string> {
  const format = "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}";
  const list = await run(["go", "list", "-deps", "-f", format, from], {
    cwd: module,
    env: target.goEnv,
  });
  const goRoot = (await run(["go", "env", "GOROOT"])).trim();
  const notices = [await licencesIn("the Go standard library", goRoot)];
  for (const line of [...new Set(list.split("\n"))].filter((each) => each !== "").sort()) {
    const [path = "", version = "", directory = ""] = line.split(" ");
    notices.push(await licencesIn(`${path} ${version}`, directory));
  }
  return notices.join("");
}

export async function licencesIn(title: string, directory: string): Promise<string> {
  const names = (await readdir(directory)).filter((name) =>
    /^(licen[cs]e|copying|notice)/i.test(name),
  );
  const texts = await Promise.all(
    names.sort().map(async (name) => await Bun.file(join(directory, name)).text()),
  );
  return notice(title, texts.join("\n"));
}

export function notice(title: string, text: string): string {
  return `${"=".repeat(20)} ${title}\n\n${text.trim()}\n\n`;
}

/** `github.com/x/plugins/plugins/main/bridge` → `bridge` */
export function commandName(importPath: string): string {
  return basename(importPath);
}
