import { createHash } from "node:crypto";
import { join } from "node:path";
import { embed, repository } from "../embed/cache.ts";
import { run } from "../embed/command.ts";

interface Component {
  readonly type: "library" | "application";
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly licence?: string | undefined;
}

/** Debian's packages that files of the executable come from, by their names in `crib version`. */
const debianParts: Readonly<Record<string, { readonly source: string; readonly licence: string }>> =
  {
    crun: { source: "crun", licence: "GPL-2.0-or-later AND LGPL-2.1-or-later" },
    glibc: { source: "glibc", licence: "LGPL-2.1-or-later" },
    libseccomp: { source: "libseccomp", licence: "LGPL-2.1-only" },
    isal: { source: "isa-l", licence: "BSD-3-Clause" },
    "busybox (demo image)": { source: "busybox", licence: "GPL-2.0-only" },
  };

/** A CycloneDX 1.6 bill of what is in the executable: npm packages, Go modules, Debian parts, Bun. */
export async function makeSbom(
  version: string,
  parts: Readonly<Record<string, string>>,
  at: Date,
): Promise<string> {
  const components = [...(await npmPackages()), ...(await goModules()), ...debianComponents(parts)]
    .sort((a, b) => (a.purl < b.purl ? -1 : 1))
    .map(({ licence, ...component }) => ({
      "bom-ref": component.purl,
      ...component,
      ...(licence === undefined ? {} : { licenses: [{ expression: licence }] }),
    }));
  const digest = createHash("sha256")
    .update(JSON.stringify([version, components]))
    .digest("hex");
  const uuid = `${digest.slice(0, 8)}-${digest.slice(8, 12)}-4${digest.slice(13, 16)}-8${digest.slice(17, 20)}-${digest.slice(20, 32)}`;
  return `${JSON.stringify(
    {
      bomFormat: "CycloneDX",
      specVersion: "1.6",
      // Of the contents, so that the same commit gives the same file.
      serialNumber: `urn:uuid:${uuid}`,
      version: 1,
      metadata: {
        timestamp: at.toISOString(),
        component: {
          type: "application",
          "bom-ref": `pkg:generic/crib@${version}`,
          name: "crib",
          version,
          licenses: [{ expression: "Apache-2.0" }],
        },
      },
      components,
    },
    undefined,
    2,
  )}\n`;
}

async function npmPackages(): Promise<Component[]> {
  const read = async (directory: string) => await Bun.file(join(directory, "package.json")).json();
  const root = await read(repository);
  const found = new Map<string, Component>();
  const names = Object.keys(root.dependencies);
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    if (found.has(name)) continue;
    const { version, license, dependencies } = await read(join(repository, "node_modules", name));
    const purl = `pkg:npm/${name.replace("@", "%40")}@${version}`;
    found.set(name, { type: "library", name, version, purl, licence: license });
    names.push(...Object.keys(dependencies ?? {}));
  }
  const bun = root.devDependencies.bun;
  const purl = `pkg:npm/bun@${bun}`;
  return [
    ...found.values(),
    { type: "application", name: "bun", version: bun, purl, licence: "MIT" },
  ];
}

/** Of the launcher and of all tools that embed/go.mod names. */
async function goModules(): Promise<Component[]> {
  const format = "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}";
  const list = await run(["go", "list", "-deps", "-f", format, "tool", "./launcher"], {
    cwd: embed,
  });
  const go = (await run(["go", "env", "GOVERSION"], { cwd: embed })).trim().replace(/^go/, "");
  const modules = [...new Set(list.split("\n"))].filter((line) => line !== "").sort();
  return [
    {
      type: "library",
      name: "std",
      version: go,
      purl: `pkg:golang/std@${go}`,
      licence: "BSD-3-Clause",
    },
    ...modules.map((line): Component => {
      const [name = "", version = ""] = line.split(" ");
      return { type: "library", name, version, purl: `pkg:golang/${name}@${version}` };
    }),
  ];
}

function debianComponents(parts: Readonly<Record<string, string>>): Component[] {
  return Object.entries(debianParts).map(([part, { source, licence }]) => {
    const version = sourceVersion(parts[part]);
    const purl = `pkg:deb/debian/${source}@${encodeURIComponent(version)}?arch=source`;
    return {
      type: part === "crun" ? "application" : "library",
      name: source,
      version,
      purl,
      licence,
    };
  });
}

/** Without the number of a package that was only built again. */
function sourceVersion(version = ""): string {
  return version.replace(/\+b\d+$/, "");
}

/** Where the sources of the parts under the GPL and LGPL are, as their licences ask. */
export function sourcesOf(parts: Readonly<Record<string, string>>): string {
  const rows = Object.entries(debianParts)
    .filter(([, { licence }]) => licence.includes("GPL"))
    .map(
      ([part, { source, licence }]) =>
        `| ${part} | ${licence} | ${source} | ${sourceVersion(parts[part])} |`,
    );
  return `# Sources of parts under the GPL and LGPL

The executable contains these, unchanged, from Debian's packages. Their complete sources, Debian's changes included, are what
\`apt-get source PACKAGE=VERSION\` gives on a Debian system with \`deb-src\` lines; versions that have left Debian's mirrors are
kept for good at snapshot.debian.org/package/PACKAGE/VERSION.

| part | licence | source package | version |
|---|---|---|---|
${rows.join("\n")}

Bun links JavaScriptCore (LGPL-2): its sources, with how to link another one, are in Bun's repository at the tag of its version.
The licences of all parts are in the executable's payload (NOTICES).
`;
}
