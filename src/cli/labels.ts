import { UsageError } from "./failure.ts";

/** `--label NAME=VALUE`, each. */
export function parseLabels(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(texts.map(parseLabel));
}

function parseLabel(text: string): readonly [string, string] {
  const equals = text.indexOf("=");
  if (equals < 1) throw new UsageError(`--label ${text}: not NAME=VALUE`);
  return [text.slice(0, equals), text.slice(equals + 1)];
}
