import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { protoJson } from "./list-output.ts";

/** A response to a verbose request: its `info` is JSON in strings; shown as what it is. */
export function verboseJson<D extends DescMessage>(
  schema: D,
  message: MessageShape<D> & { readonly info: Readonly<Record<string, string>> },
): object {
  const parsed = Object.entries(message.info).map(([key, text]) => [key, parseOrKeep(text)]);
  return { ...(protoJson(schema, message) as object), info: Object.fromEntries(parsed) };
}

function parseOrKeep(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
