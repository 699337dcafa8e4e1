import { chmodSync, existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { writeFileAtomically } from "../../lib/atomic-file.ts";
import { failedPrecondition } from "../../lib/errors.ts";
import { asObject, type JsonObject, optional, parseJson } from "../../lib/json.ts";
import type { CommandEnv } from "../command.ts";
import { UsageError } from "../failure.ts";
import type { BasicCredentials } from "./credentials.ts";

const maxFileBytes = 1 << 20;
/** Docker's own key of its registry, which every tool that reads the file knows. */
const dockerHub = "https://index.docker.io/v1/";
const dockerHubNames = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/** `name[:port]`, of what people write: with a scheme, or with a path behind. */
export function registryOf(text: string): string {
  const host = text
    .replace(/^https?:\/\//i, "")
    .replace(/\/.*$/, "")
    .toLowerCase();
  if (!/^(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:\d{1,5})?$/.test(host)) {
    throw new UsageError(`${text}: not HOST[:PORT] of a registry`);
  }
  return dockerHubNames.includes(host) ? "docker.io" : host;
}

/** The first file in which a pull looks for logins: `images.docker_config_files` of the configuration. */
export async function credentialsFileOf(
  env: CommandEnv,
  configFile: string | undefined,
): Promise<string> {
  const { settings } = await (await env.loadConfigTools()).read(configFile);
  const files = settings.find(({ key }) => key === "images.docker_config_files")?.value;
  const first: unknown = Array.isArray(files) ? files[0] : undefined;
  if (typeof first === "string") return first;
  throw failedPrecondition("images.docker_config_files is empty: pulls look for logins nowhere");
}

export interface ChangedFile {
  readonly text: string;
  /** There was a login to this registry. */
  readonly hadEntry: boolean;
  /** Readable by its owner only. It is on the disk when this returns. */
  write(): void;
}

/** Docker's config.json with a login to a registry, or without; all else in it stays. */
export function withCredentials(
  file: string,
  registry: string,
  credentials: BasicCredentials | undefined,
): ChangedFile {
  const config = readConfig(file);
  const auths = optional(config["auths"], "auths", asObject) ?? {};
  const names = registry === "docker.io" ? [...dockerHubNames, dockerHub] : [registry];
  const isOwn = (name: string) =>
    names.includes(name) ||
    names.includes(name.replace(/^https?:\/\//, "").replace(/\/(v[12]\/?)?$/, ""));
  const others = Object.entries(auths).filter(([name]) => !isOwn(name));
  const hadEntry = others.length < Object.keys(auths).length;
  const auth =
    credentials &&
    Buffer.from(`${credentials.username}:${credentials.password}`).toString("base64");
  const key = registry === "docker.io" ? dockerHub : registry;
  const entries = auth === undefined ? others : [...others, [key, { auth }] as const];
  const text = `${JSON.stringify({ ...config, auths: Object.fromEntries(entries) }, null, 2)}\n`;
  return {
    text,
    hadEntry,
    write() {
      mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
      writeFileAtomically(file, text, { mode: 0o600 });
      chmodSync(file, 0o600);
    },
  };
}

function readConfig(file: string): JsonObject {
  if (!existsSync(file)) return {};
  if (statSync(file).size > maxFileBytes) throw failedPrecondition(`${file}: over 1 MiB`);
  const text = readFileSync(file, "utf8");
  if (text.trim() === "") return {};
  return asObject(parseJson(text, file, { maxBytes: maxFileBytes }), file);
}
