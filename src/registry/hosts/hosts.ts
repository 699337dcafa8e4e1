import { join } from "node:path";
import { describe } from "../../lib/errors.ts";
import type { Warn } from "../config-files.ts";
import { readHostsDirectory } from "./hosts-toml.ts";
import type { RegistriesFile } from "./registries-yaml.ts";
import { type RegistryHost, upstreamOf } from "./registry-host.ts";

/**
 * The hosts to ask for images of `registry`, in order, as the node's files say now. The first of these that says
 * anything decides alone: `<dir>/<registry>/` in containerd's certs.d format, k3s's registries.yaml,
 * `<dir>/_default/`. Where none does, the registry itself is asked, by https; on this machine by http too. A mistake costs
 * what it is about: a file of one registry its pulls (`failed-precondition`), one for all registries nothing but itself.
 */
export function readHosts(
  configDirs: readonly string[],
  registries: RegistriesFile | undefined,
  registry: string,
  warn: Warn,
): readonly RegistryHost[] {
  const upstream = upstreamOf(registry);
  const inDirectories = (names: readonly string[]) => {
    for (const dir of configDirs) {
      for (const name of names) {
        const hosts = readHostsDirectory(join(dir, name), upstream, warn);
        if (hosts !== undefined) return hosts;
      }
    }
    return undefined;
  };
  const forAll = () => {
    try {
      return inDirectories(["_default"]);
    } catch (err) {
      warn(`${describe(err)}: the file is left out`);
      return undefined;
    }
  };
  return (
    inDirectories(directoriesOf(registry)) ??
    registries?.hostsFor(registry, upstream) ??
    forAll() ?? [upstream]
  );
}

/** `:` cannot be in a directory name everywhere: containerd writes `host_5000_` too. */
function directoriesOf(registry: string): readonly string[] {
  const withPort = /^(.*):(\d+)$/.exec(registry);
  return [...(withPort === null ? [] : [`${withPort[1]}_${withPort[2]}_`]), registry];
}
