import { asObject, asString, optional } from "../lib/json.ts";

/** OCI image-spec, image-index: what a manifest's program runs on. Go's names (amd64, arm64). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  /** `v8` and the like; empty if absent. */
  readonly variant: string;
}

export function parsePlatform(value: unknown, what: string): Platform {
  const platform = asObject(value, what);
  const field = (name: string) => optional(platform[name], `${what}.${name}`, asString) ?? "";
  return { os: field("os"), architecture: field("architecture"), variant: field("variant") };
}

/** The platform of a Linux node by Node's name for its processor. */
export function platformOf(arch: string): Platform {
  const architecture = arch === "x64" ? "amd64" : arch;
  return { os: "linux", architecture, variant: architecture === "arm64" ? "v8" : "" };
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, variant].filter((part) => part !== "").join("/");
}

/** The variant that an absent one means. */
const baseVariant: Readonly<Record<string, string>> = { amd64: "v1", arm64: "v8" };

/** Whether a program for `offered` runs on `node`. */
export function isRunnable(node: Platform, offered: Platform): boolean {
  const base = baseVariant[node.architecture] ?? "";
  return (
    offered.os === node.os &&
    offered.architecture === node.architecture &&
    (offered.variant || base) === (node.variant || base)
  );
}
