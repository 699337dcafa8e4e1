import { invalidArgument } from "../lib/errors.ts";
import { asList, asObject, asString, asStringMap, optional, parseJson } from "../lib/json.ts";
import { type Digest, parseDigest } from "./digest.ts";

/**
 * What an image says about the containers made of it (OCI image-spec, config.md). Plain JSON values. All of it comes
 * from outside: whoever uses `user`, `workingDir`, `volumes` or `stopSignal` checks that value first, and labels decide nothing.
 */
export interface ImageConfig {
  readonly architecture: string;
  readonly os: string;
  readonly variant: string;
  /** As written in the image, RFC 3339 at best; empty if absent. */
  readonly created: string;
  readonly user: string;
  /** `NAME=value`, each. */
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly workingDir: string;
  readonly stopSignal: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly volumes: readonly string[];
  /** `port/protocol` or `port`, each. */
  readonly exposedPorts: readonly string[];
  /** Uncompressed layer digests, lowest first. */
  readonly diffIds: readonly Digest[];
}

export const maxImageConfigBytes = 4 << 20;

/** What an artifact, which is no container image, says about containers. */
export const emptyImageConfig: ImageConfig = {
  architecture: "",
  os: "",
  variant: "",
  created: "",
  user: "",
  env: [],
  entrypoint: [],
  cmd: [],
  workingDir: "",
  stopSignal: "",
  labels: {},
  volumes: [],
  exposedPorts: [],
  diffIds: [],
};

export function parseImageConfig(bytes: Uint8Array, what = "image config"): ImageConfig {
  const document = asObject(parseJson(bytes, what, { maxBytes: maxImageConfigBytes }), what);
  const config = optional(document["config"], `${what}.config`, asObject) ?? {};
  const rootfs = asObject(document["rootfs"], `${what}.rootfs`);
  const text = (value: unknown, name: string) => optional(value, `${what}.${name}`, asText) ?? "";
  const texts = (value: unknown, name: string) => asList(value, `${what}.config.${name}`, asText);
  return {
    architecture: text(document["architecture"], "architecture"),
    os: text(document["os"], "os"),
    variant: text(document["variant"], "variant"),
    created: text(document["created"], "created"),
    user: text(config["User"], "config.User"),
    env: texts(config["Env"], "Env").filter(isAssignment),
    entrypoint: texts(config["Entrypoint"], "Entrypoint"),
    cmd: texts(config["Cmd"], "Cmd"),
    workingDir: text(config["WorkingDir"], "config.WorkingDir"),
    stopSignal: text(config["StopSignal"], "config.StopSignal"),
    labels: asStringMap(config["Labels"], `${what}.config.Labels`),
    volumes: keys(config["Volumes"], `${what}.config.Volumes`),
    exposedPorts: keys(config["ExposedPorts"], `${what}.config.ExposedPorts`),
    diffIds: asList(rootfs["diff_ids"], `${what}.rootfs.diff_ids`, (id, name) =>
      parseDigest(asString(id, name)),
    ),
  };
}

/** These strings end up in C strings, where a NUL byte would cut them. */
function asText(value: unknown, what: string): string {
  const text = asString(value, what);
  if (text.includes("\0")) throw invalidArgument(`${what}: holds a NUL character`);
  return text;
}

/** Anything else means nothing in an environment, and never "take the value of the host". */
function isAssignment(entry: string): boolean {
  return entry.indexOf("=") > 0;
}

/** A set in this format is an object with empty values. */
function keys(value: unknown, what: string): readonly string[] {
  return Object.keys(optional(value, what, asObject) ?? {}).map((key) => asText(key, what));
}
