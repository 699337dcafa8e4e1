import { schema } from "./config-schema.ts";
import { isNamed, isSetting, tomlKey } from "./given.ts";
import type { SettingTable } from "./setting.ts";

/** The whole default configuration, commented: what `crib config default` prints. Uncommented it means the same. */
export function configDefaultText(): string {
  const head = [
    "# The configuration of crib: /etc/crib/config.toml, or the file that --config names.",
    "# After it the drop-ins config.toml.d/*.toml are read, in the order of their names.",
    "# Every setting is here with its default. An unknown key or a bad value is refused.",
  ];
  return `${[...head, ...tableText(schema, [])].join("\n")}\n`;
}

/** A table's own settings come first: TOML would count what follows a header to that header. */
function tableText(table: SettingTable, path: readonly string[]): readonly string[] {
  const settings: string[] = [];
  const tables: string[] = [];
  for (const [key, node] of Object.entries(table)) {
    const name = tomlKey(key);
    if (isSetting(node)) {
      settings.push("", comment(node.doc), `#${name} = ${JSON.stringify(node.default)}`);
    } else if (isNamed(node)) {
      tables.push("", comment(node.doc));
      for (const entry of node.builtin)
        tables.push(...tableText(node.entry, [...path, name, entry]));
    } else {
      tables.push(...tableText(node, [...path, name]));
    }
  }
  const header = path.length === 0 ? [] : ["", `#[${path.join(".")}]`];
  return [...header, ...settings, ...tables];
}

/** In lines of at most 100 columns. */
function comment(doc: string): string {
  return doc.replace(/(.{1,98})(?: |$)/g, "# $1\n").trimEnd();
}
