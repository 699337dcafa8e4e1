import { join } from "node:path";
import { readHostsDirectory } from "./hosts-toml.ts";
import type { RegistriesFile } from "./registries-yaml.ts";
import { plainHost, type RegistryHost, upstreamOf } from "./registry-host.ts";

/**
 * The hosts to ask for images of `registry`, in order, as the node's files say now. The first of these that says
 * anything decides alone: `<dir>/<registry>/` in containerd's certs.d format, k3s's registries.yaml,
 * `<dir>/_default/`. Where none does, the registry itself is asked, by https.
 */
export function readHosts(
  configDirs: readonly string[],
  registries: RegistriesFile | undefined,
  registry: string,
): readonly RegistryHost[] {
  const upstream = upstreamOf(registry);
  const inDirectories = (names: readonly string[]) => {
    for (const dir of configDirs) {
      for (const name of names) {
        const hosts = readHostsDirectory(join(dir, name), upstream);
        if (hosts !== undefined) return hosts;
      }
    }
    return undefined;
  };
  return (
    inDirectories(directoriesOf(registry)) ??
    registries?.hostsFor(registry, upstream) ??
    inDirectories(["_default"]) ?? [plainHost(upstream)]
  );
}

/** `:` cannot be in a directory name everywhere: containerd writes `host_5000_` too. */
function directoriesOf(registry: string): readonly string[] {
  const withPort = /^(.*):(\d+)$/.exec(registry);
  return [...(withPort === null ? [] : [`${withPort[1]}_${withPort[2]}_`]), registry];
}
