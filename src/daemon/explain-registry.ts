import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Context } from "../lib/context.ts";
import { parseReference } from "../oci/reference.ts";
import { explainRegistry, type HostExplanation } from "../registry/hosts/explain.ts";
import { readRegistries } from "../registry/hosts/registries-yaml.ts";
import type { Config } from "./config/config.ts";

const timeoutMs = 10_000;

/**
 * What a daemon with this configuration would do for images of a registry (`host`, or `host/name`). A proxy that
 * only the daemon's environment names is not known here.
 */
export async function explainConfigured(
  ctx: Context,
  name: string,
  options: { readonly config: Pick<Config, "images" | "proxy">; readonly asks: boolean },
): Promise<readonly HostExplanation[]> {
  const { config, asks } = options;
  const { images, proxy } = config;
  const { registryConfigDirs: configDirs, registriesFiles, dockerConfigFiles } = images;
  const reference = parseReference(name.includes("/") ? name : `${name}/any`);
  const loadRegistries = () => Promise.resolve(readRegistries);
  const sources = { configDirs, registriesFiles, loadRegistries, dockerConfigFiles, proxy };
  return await explainRegistry(ctx, sources, reference, { asks, timeoutMs });
}

/** What a registry says to the logins of a Docker config.json, given as its text; mirrors are not asked. */
export async function checkLogin(
  ctx: Context,
  name: string,
  text: string,
  config: Pick<Config, "images" | "proxy">,
): Promise<{ readonly ok: boolean; readonly text: string }> {
  const directory = mkdtempSync(join(tmpdir(), "crib-login-"));
  try {
    const file = join(directory, "config.json");
    writeFileSync(file, text, { mode: 0o600 });
    const images = { ...config.images, dockerConfigFiles: [file] };
    const options = { config: { ...config, images }, asks: true };
    const hosts = await explainConfigured(ctx, name, options);
    const own = hosts.findLast(({ isMirror }) => !isMirror);
    if (own?.response === undefined) return { ok: false, text: "no host is configured for it" };
    const { credentials, response } = own;
    // Logins of registries.yaml win over those of the file.
    const isOther = credentials !== undefined && !credentials.startsWith(directory);
    return isOther
      ? { ok: false, text: `${credentials} has a login that is used first` }
      : response;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
