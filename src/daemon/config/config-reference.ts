import { schema } from "./config-schema.ts";
import { isNamed, isSetting, tomlKey } from "./given.ts";
import type { SettingTable } from "./setting.ts";

const head = `# Configuration

The daemon reads \`/etc/crib/config.toml\`, or the file that \`--config\` names, and after it the drop-ins
\`config.toml.d/*.toml\` beside it, in the order of their names. Settings are merged one by one: the later file wins, and
a list takes the place of the list before it. Flags of \`crib serve\` win over files, files over the environment
(\`HTTP_PROXY\`, \`HTTPS_PROXY\`, \`NO_PROXY\`), and that over the defaults. An unknown key or a bad value is refused, with
file, line and key.

| command | |
|---|---|
| \`crib config default\` | prints a file with every setting, commented |
| \`crib config check [FILE]\` | whether a daemon would start with these files |
| \`crib config reload\` | the running daemon reads its files again, as it does for SIGHUP |
| \`crib config show [FILE]\` | every setting with the file and line that it is from, without secrets |

A reload applies the settings that are marked with "yes" below, to whatever begins afterwards; for every other setting that
has changed it reports that a restart is needed. If a file is broken, nothing changes. Registry files, credentials,
certificates and signature policies are read at every use and need no reload. A handler of type "shim" that is changed or
removed needs a restart, and so does a change of \`runtime.handlers.NAME.type\`.

This page is generated from the table that the parser uses.
`;

/** `docs/configuration.md`. */
export function configReference(): string {
  return `${head}${sectionsOf(schema, []).join("")}`;
}

function sectionsOf(table: SettingTable, keyPath: readonly string[]): readonly string[] {
  const rows: string[] = [];
  const below: string[] = [];
  for (const [key, node] of Object.entries(table)) {
    const name = tomlKey(key);
    if (isSetting(node)) {
      const reload = node.reloads ? "yes" : "";
      const shown = JSON.stringify(node.default);
      rows.push(`| \`${name}\` | \`${shown}\` | ${escaped(node.doc)} | ${reload} |\n`);
    } else if (isNamed(node)) {
      below.push(...sectionsOf(node.entry, [...keyPath, name, "NAME"]));
    } else {
      below.push(...sectionsOf(node, [...keyPath, name]));
    }
  }
  if (rows.length === 0) return below;
  const title = keyPath.length === 0 ? "At the top of the file" : `\`[${keyPath.join(".")}]\``;
  return [
    `\n## ${title}\n\n| setting | default | | reload |\n|---|---|---|---|\n`,
    ...rows,
    ...below,
  ];
}

function escaped(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("<", "&lt;");
}
