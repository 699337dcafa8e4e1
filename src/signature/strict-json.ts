import { invalidArgument } from "../lib/errors.ts";
import { asObject, type JsonObject, parseJson } from "../lib/json.ts";

/**
 * An object in which no key comes twice, at any depth: two readers could take another one of them each. The rest is as
 * `parseJson` has it.
 */
export function parseStrictObject(
  input: Uint8Array,
  what: string,
  options: { readonly maxBytes: number },
): JsonObject {
  const document = asObject(parseJson(input, what, options), what);
  const twice = findRepeatedKey(new TextDecoder().decode(input));
  if (twice !== undefined) {
    throw invalidArgument(`${what}: ${JSON.stringify(twice.slice(0, 100))} is there twice`);
  }
  return document;
}

/** Throws for a key that is not among `known`: what somebody has written is not to be read as if it said nothing. */
export function refuseOthers(object: JsonObject, what: string, known: readonly string[]): void {
  const other = Object.keys(object).find((key) => !known.includes(key));
  if (other === undefined) return;
  throw invalidArgument(`${what}: unknown key ${JSON.stringify(other.slice(0, 100))}`);
}

/** `json` is valid JSON. A string is a key when a colon follows it. (A pattern takes half a second for a megabyte.) */
function findRepeatedKey(json: string): string | undefined {
  const open: Set<string>[] = [];
  for (let at = 0; at < json.length; at++) {
    const char = json[at];
    if (char === "{" || char === "[") open.push(new Set());
    else if (char === "}" || char === "]") open.pop();
    else if (char === '"') {
      const end = endOfString(json, at);
      if (isFollowedByColon(json, end)) {
        const key: string = JSON.parse(json.slice(at, end));
        const keys = open.at(-1);
        if (keys?.has(key)) return key;
        keys?.add(key);
      }
      at = end - 1;
    }
  }
  return undefined;
}

function endOfString(json: string, start: number): number {
  let at = start + 1;
  while (json[at] !== '"') at += json[at] === "\\" ? 2 : 1;
  return at + 1;
}

function isFollowedByColon(json: string, from: number): boolean {
  let at = from;
  while (" \t\n\r".includes(json.charAt(at)) && at < json.length) at++;
  return json.charAt(at) === ":";
}
