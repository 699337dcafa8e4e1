import { isAlias, isMap, isScalar, isSeq, type Node, parseAllDocuments } from "yaml";
import { invalidArgument } from "../../lib/errors.ts";
import { asObject, type JsonObject } from "../../lib/json.ts";

/** A scalar as it is written and as YAML 1.1 understands it: a field of text wants the first, a flag the second. */
export class YamlScalar {
  readonly text: string;
  readonly value: unknown;

  constructor(text: string, value: unknown) {
    this.text = text;
    this.value = value;
  }
}

export function asYamlMap(value: unknown, what: string): JsonObject {
  if (value instanceof YamlScalar) throw invalidArgument(`${what}: not a map`);
  return asObject(value, what);
}

/** A bomb of aliases would be larger. */
const maxNodes = 100_000;
/** The parser recurses. */
const tooDeep = /(?:[[{]\s*){64}/;

/**
 * Objects without prototype, arrays and YamlScalars of the first document in `text`, as Go's yaml.v2 reads it: version 1.1,
 * with anchors and merge keys, where the last of two equal keys counts. Null when there is none. Throws `invalid-argument`
 * with the line.
 */
export function parseYamlText(text: string): unknown {
  if (tooDeep.test(text)) throw invalidArgument("nested too deep");
  const documents = parseAllDocuments(text, { version: "1.1", uniqueKeys: false, merge: false });
  if (!Array.isArray(documents)) return null;
  const [document] = documents;
  if (document === undefined) return null;
  const [error] = document.errors;
  if (error !== undefined) throw invalidArgument(error.message.split("\n")[0] ?? "no YAML");
  let nodes = 0;
  const read = (node: unknown): unknown => {
    if (++nodes > maxNodes) throw invalidArgument(`over ${maxNodes} values`);
    if (isAlias(node)) {
      const anchor = node.resolve(document);
      // Not its name: a password may begin with an asterisk.
      if (anchor === undefined) throw invalidArgument("an alias without an anchor");
      return read(anchor);
    }
    if (isScalar(node)) return node.value === null ? null : scalarOf(node);
    if (isSeq(node)) return node.items.map(read);
    if (!isMap(node)) return null;
    const own: [string, unknown][] = [];
    const merged: [string, unknown][] = [];
    for (const { key, value } of node.items) {
      const name = isScalar(key) ? scalarOf(key).text : String(key);
      if (name !== "<<" || (isScalar(key) && key.type !== "PLAIN")) own.push([name, read(value)]);
      // Of several maps the first wins.
      else
        for (const map of [read(value)].flat().reverse()) merged.push(...Object.entries(map ?? {}));
    }
    return Object.assign(Object.create(null), Object.fromEntries([...merged, ...own]));
  };
  return read(document.contents as Node | null);
}

function scalarOf({ source, value }: { source?: string; value: unknown }): YamlScalar {
  return new YamlScalar(source ?? String(value), value);
}
