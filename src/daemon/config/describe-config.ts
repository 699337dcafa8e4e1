import { hideSecrets } from "../../lib/hide-secrets.ts";
import { schema } from "./config-schema.ts";
import type { GivenSettings } from "./given.ts";
import { dotted, isNamed, isSetting, namesIn, tomlKey } from "./given.ts";
import type { Setting, SettingTable } from "./setting.ts";

/** One setting as it is in force. */
export interface DescribedSetting {
  /** Dotted, as in the file. */
  readonly key: string;
  /** Without secrets. */
  readonly value: unknown;
  /** `FILE:LINE`, `command line`, `environment NAME` or `default`. */
  readonly origin: string;
  /** Whether a change takes effect without a restart. */
  readonly reloads: boolean;
}

/** Every setting in the order of `crib config default`, with what was given for it; secrets are hidden. */
export function describeConfig(given: GivenSettings): readonly DescribedSetting[] {
  return settingsOf(given).map(({ keyPath, node }) => {
    const entry = given.get(dotted(keyPath));
    return {
      key: dotted(keyPath),
      value: hideSecrets(entry === undefined ? node.default : entry.value),
      origin: entry?.origin ?? "default",
      reloads: node.reloads ?? false,
    };
  });
}

interface PlacedSetting {
  readonly keyPath: readonly string[];
  readonly node: Setting<unknown>;
}

function settingsOf(given: GivenSettings): readonly PlacedSetting[] {
  const walk = (table: SettingTable, within: readonly string[]): readonly PlacedSetting[] =>
    Object.entries(table).flatMap(([key, node]) => {
      const keyPath = [...within, tomlKey(key)];
      if (isSetting(node)) return [{ keyPath, node }];
      if (!isNamed(node)) return walk(node, keyPath);
      return namesIn(node, keyPath, given).flatMap((name) => walk(node.entry, [...keyPath, name]));
    });
  return walk(schema, []);
}
