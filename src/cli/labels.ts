import { UsageError } from "./failure.ts";

/** `--label NAME=VALUE`, each. `option` comes first in the error. */
export function parseLabels(texts: readonly string[], option = "--label"): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const equals = text.indexOf("=");
      if (equals < 1) throw new UsageError(`${option} ${text}: not NAME=VALUE`);
      return [text.slice(0, equals), text.slice(equals + 1)];
    }),
  );
}
