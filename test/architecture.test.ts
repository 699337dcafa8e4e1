import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { posix } from "node:path";
import { ImageService, RuntimeService } from "../src/gen/runtime/v1/api_pb.ts";

const base = ["oci", "os", "lib"];
const mechanisms = [
  "registry",
  "signature",
  "content",
  "snapshot",
  "bundle",
  "runtime",
  "network",
  "cgroup",
  "cdi",
  "seccomp",
  "state",
];

/** Who may import whom: the single source of truth for the layers that src/README.md draws. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  "main.ts": [
    ...[
      "cli",
      "daemon",
      "compat",
      "nri",
      "signature",
      "monitor",
      "container",
      "snapshot",
      "network",
    ],
    ...["os", "lib", "version.ts"],
  ],
  "version.ts": [],
  cli: ["install", "executable", "spdy", "oci", "os", "lib", "gen", "version.ts"],
  daemon: [
    "admin",
    "distribution",
    "cri",
    "compat",
    "streaming",
    "nri",
    "standalone",
    "sandbox",
    "container",
    "profile",
    "image",
    ...mechanisms,
    ...base,
    "executable",
    "gen",
    "version.ts",
  ],
  nri: ["sandbox", "container", "image", "ttrpc", ...base, "gen"],
  monitor: ["runtime", "os", "lib"],
  distribution: ["image", "oci", "lib"],
  admin: ["cri", "standalone", "image", "lib", "gen"],
  cri: ["sandbox", "container", "profile", "image", "streaming", "oci", "lib", "gen", "version.ts"],
  compat: ["container", "lib", "gen"],
  // A connection is a socket: os/socket/socket-stream.ts is how everybody reads and writes one.
  streaming: ["spdy", "os", "lib"],
  standalone: ["sandbox", "container", ...mechanisms, ...base, "gen"],
  sandbox: ["container", "profile", "image", ...mechanisms, ...base, "gen"],
  container: ["profile", "image", ...mechanisms, ...base, "gen"],
  image: ["registry", "signature", "content", "snapshot", "state", ...base, "executable", "gen"],
  profile: ["image", "registry", "signature", "content", "seccomp", ...base],
  registry: base,
  signature: base,
  content: base,
  snapshot: base,
  bundle: base,
  // What a runtime runs is in cgroups.
  runtime: ["cgroup", "ttrpc", "gen", ...base],
  network: base,
  cgroup: base,
  cdi: base,
  seccomp: ["oci", "lib"],
  state: [...base, "gen", "standalone", "container", "sandbox", "image"],
  ttrpc: ["lib", "gen"],
  oci: ["lib"],
  os: ["lib"],
  install: ["executable", "lib"],
  executable: ["lib"],
  spdy: ["lib"],
  lib: [],
  gen: [],
};

/**
 * Who may import what of a folder that hides its inside, by the beginnings of paths below it; everybody else who may
 * import it at all may import all of it.
 */
const doors: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  runtime: {
    container: ["runtime.ts"],
    sandbox: ["runtime.ts"],
    monitor: [
      "monitor/",
      "process-tree.ts",
      "oci/console-socket.ts",
      "runtime-log.ts",
      "report.ts",
    ],
  },
};

/** Parts of a folder: each may import the files at its root and these of its siblings; the files at the root none. */
const siblings: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  // An OCI program and a shim never see each other; monitors serve both.
  runtime: { monitor: [], oci: ["monitor"], shim: ["monitor"] },
};

/** These may name generated types (stored configs) but not run generated code. */
const typesOnly = new Set(["standalone", "sandbox", "container", "image"]);
/** The state tables store domain values: they name their types and nothing else of the domain. */
const domainTypesOnly = new Set(["state"]);

const importStatement = /^\s*(import|export)(\s+type)?\s[^;]*?\bfrom\s+"(\.[^"]+)"/gm;

test("imports go down only", async () => {
  const wrong: string[] = [];
  for await (const file of new Bun.Glob("**/*.ts").scan("src")) {
    const from = file.split("/")[0] ?? "";
    if (from === "gen") continue;
    const text = await Bun.file(`src/${file}`).text();
    for (const [, , type, path = ""] of text.matchAll(importStatement)) {
      const target = posix.join(posix.dirname(file), path);
      const [to = "", ...below] = target.split("/");
      const door = file.endsWith(".test.ts") ? undefined : doors[to]?.[from];
      const isOpen = door?.some((part) => below.join("/").startsWith(part)) ?? true;
      if (!isOpen || !isOfSibling(file, target)) wrong.push(`${file} -> ${target}`);
      if (to === from) continue;
      const isTest = file.endsWith(".test.ts") && to === "..";
      if (!isTest && !allowed[from]?.includes(to)) wrong.push(`${file} -> ${to}`);
      if (to === "gen" && typesOnly.has(from) && type === undefined && !file.endsWith(".test.ts")) {
        wrong.push(`${file} runs generated code`);
      }
      if (
        ["standalone", "container", "sandbox", "image"].includes(to) &&
        domainTypesOnly.has(from) &&
        !type
      ) {
        wrong.push(`${file} runs domain code`);
      }
    }
  }
  expect(wrong).toEqual([]);
});

/** Whether a file of a folder may import another of the same folder. */
function isOfSibling(file: string, target: string): boolean {
  const [from = "", ...inside] = file.split("/");
  const [to = "", ...below] = target.split("/");
  const parts = siblings[from];
  if (parts === undefined || to !== from) return true;
  const own = inside.length > 1 ? inside[0] : undefined;
  const other = below.length > 1 ? below[0] : undefined;
  if (other === undefined || own === other || file.includes(".suite.")) return true;
  return own !== undefined && parts[own]?.includes(other) === true;
}

test("sub-folders of a folder import one another in one direction only", async () => {
  const imports = new Map<string, string>();
  for await (const file of new Bun.Glob("*/*/**/*.ts").scan("src")) {
    if (file.endsWith(".test.ts") || file.startsWith("gen/")) continue;
    const own = file.split("/").slice(0, 2).join("/");
    const text = await Bun.file(`src/${file}`).text();
    for (const [, , , path = ""] of text.matchAll(importStatement)) {
      const target = posix.join(posix.dirname(file), path);
      const other = target.split("/").slice(0, 2).join("/");
      const isSibling = target.split("/").length > 2 && posix.dirname(other) === posix.dirname(own);
      if (isSibling && other !== own) imports.set(`${own} -> ${other}`, file);
    }
  }
  const edges = [...imports.keys()].map((pair) => pair.split(" -> "));
  const reaches = (from: string, to: string, seen = new Set<string>()): boolean =>
    from === to ||
    (!seen.has(from) && edges.some(([a, b = ""]) => a === from && reaches(b, to, seen.add(from))));
  const circles = [...imports].filter(([pair]) => {
    const [from = "", to = ""] = pair.split(" -> ");
    return reaches(to, from);
  });
  expect(circles).toEqual([]);
});

test("the name of an exported type means one thing", async () => {
  const places = new Map<string, string[]>();
  for await (const file of new Bun.Glob("**/*.ts").scan("src")) {
    if (file.startsWith("gen/")) continue;
    const text = await Bun.file(`src/${file}`).text();
    const types = /^export (?:abstract )?(?:class|enum|interface|type) (\w+)/gm;
    for (const [, name = ""] of text.matchAll(types)) {
      places.set(name, [...(places.get(name) ?? []), file]);
    }
  }
  expect([...places].filter(([, files]) => files.length > 1)).toEqual([]);
});

test("an operation asks for what it uses, not for the graph", async () => {
  const wrong: string[] = [];
  for await (const file of new Bun.Glob("{daemon,standalone,sandbox,container,image}/**/*.ts").scan(
    "src",
  )) {
    const text = await Bun.file(`src/${file}`).text();
    if (/: (?:Sandbox|Container|Image)Deps\b/.test(text)) wrong.push(file);
  }
  expect(wrong).toEqual([]);
});

test("only main.ts imports at run time, so that each role loads only what it is", async () => {
  const wrong: string[] = [];
  for await (const file of new Bun.Glob("**/*.ts").scan("src")) {
    if (file === "main.ts") continue;
    if (/\bimport\(/.test(await Bun.file(`src/${file}`).text())) wrong.push(file);
  }
  expect(wrong).toEqual([]);
});

test("src/gen is what Buf makes of proto/", async () => {
  const dir = `${import.meta.dir}/../node_modules/.cache/gen-check`;
  const env = {
    ...process.env,
    PATH: `${import.meta.dir}/../node_modules/.bin:${process.env["PATH"]}`,
  };
  const run = Bun.spawnSync(
    ["buf", "generate", "proto", "--template", "proto/buf.gen.yaml", "--output", dir],
    { cwd: `${import.meta.dir}/..`, env },
  );
  expect(run.stderr.toString()).toBe("");
  for await (const file of new Bun.Glob("**/*.ts").scan(`${dir}/src/gen`)) {
    expect(await Bun.file(`src/gen/${file}`).text()).toBe(
      await Bun.file(`${dir}/src/gen/${file}`).text(),
    );
  }
}, 300_000);

test("test/README.md names a test for each RPC, and the test calls it", async () => {
  const table = await Bun.file("test/README.md").text();
  const wrong: string[] = [];
  for (const { name, localName } of [...RuntimeService.methods, ...ImageService.methods]) {
    const file = new RegExp(`^\\| ${name} \\| (\\S+) \\|$`, "m").exec(table)?.[1];
    const text = file === undefined ? "" : await Bun.file(`test/${file}`).text();
    if (!text.includes(`.${localName}(`)) wrong.push(`${name}: ${file ?? "no line"}`);
  }
  expect(wrong).toEqual([]);
});

test("READMEs of the source name files that exist", async () => {
  const wrong: string[] = [];
  for await (const file of new Bun.Glob("**/README.md").scan("src")) {
    const text = await Bun.file(`src/${file}`).text();
    for (const [, path = ""] of text.matchAll(
      /(?<![\w/.*-])([\w-]+(?:\/[\w.-]+)*\.(?:ts|c|md))\b/g,
    )) {
      const places = [posix.join("src", posix.dirname(file), path), posix.join("src", path), path];
      const exist = await Promise.all(places.map((place) => Bun.file(place).exists()));
      if (!exist.includes(true)) wrong.push(`src/${file}: ${path}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("links of READMEs and docs lead to files and headings that exist", async () => {
  const wrong: string[] = [];
  const globs = ["*.md", "{bench,docs,embed,proto,release}/*.md", "{src,test}/**/*.md"];
  const files = globs.flatMap((glob) => [...new Bun.Glob(glob).scanSync(".")]);
  expect(files.length).toBeGreaterThan(30);
  const anchorsOf = async (file: string) =>
    [...(await Bun.file(file).text()).matchAll(/^#+ (.*)$/gm)].map(([, title = ""]) =>
      title
        .toLowerCase()
        .replaceAll(/[^\w -]/g, "")
        .replaceAll(" ", "-"),
    );
  for (const file of files) {
    const text = (await Bun.file(file).text()).replaceAll(/^```.*?^```/gms, "");
    for (const [, link = ""] of text.matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
      const [path = "", anchor] = link.split("#");
      const target = path === "" ? file : posix.join(posix.dirname(file), path);
      const isThere = path === "" || existsSync(target);
      const hasAnchor =
        anchor === undefined || (isThere && (await anchorsOf(target)).includes(anchor));
      if (!isThere || !hasAnchor) wrong.push(`${file}: ${link}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("the figures of README are those of bench/RESULTS.md", async () => {
  const results = await Bun.file("bench/RESULTS.md").text();
  const measured = /^## Measured\n(.*?)^## /ms.exec(await Bun.file("README.md").text())?.[1] ?? "";
  const rows = measured.match(/^\| \w.*\|$/gm) ?? [];
  expect(rows.length).toBeGreaterThan(4);
  expect(rows.filter((row) => !results.includes(`\n${row}`))).toEqual([]);
});

test("CONTRIBUTING names files and folders that exist", async () => {
  const text = await Bun.file("CONTRIBUTING.md").text();
  const paths = [...text.matchAll(/`((?:src|test|proto|embed|bench|release)\/[\w./-]*)`/g)];
  expect(paths.length).toBeGreaterThan(10);
  expect(paths.map(([, path = ""]) => path).filter((path) => !existsSync(path))).toEqual([]);
});

test("SECURITY.md names tests that exist, and has every row that a test names", async () => {
  const text = await Bun.file("SECURITY.md").text();
  const rows = new Set([...text.matchAll(/^\| ([A-J]\d{1,2}) \|/gm)].map(([, row]) => row ?? ""));
  const wrong: string[] = [];
  for (const [, path = ""] of text.matchAll(/(\S+\.test\.ts)/g)) {
    if (!(await Bun.file(posix.join("test", path)).exists())) wrong.push(`no test ${path}`);
  }
  for await (const file of new Bun.Glob("{src,test}/**/*.test.ts").scan(".")) {
    const names = await Bun.file(file).text();
    for (const [, row = ""] of names.matchAll(/\(([A-J]\d{1,2})\)["`]/g)) {
      if (!rows.has(row)) wrong.push(`${file}: no row ${row}`);
    }
  }
  expect(wrong).toEqual([]);
});
