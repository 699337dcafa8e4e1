import { asObject, asString, optional } from "../lib/json.ts";

/** OCI image-spec, image-index: what a manifest's program runs on. Go's names (amd64, arm64), normalised. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  /** `v7` and the like; empty where it is the usual one of the architecture. */
  readonly variant: string;
}

export function parsePlatform(value: unknown, what: string): Platform {
  const platform = asObject(value, what);
  const field = (name: string) => optional(platform[name], `${what}.${name}`, asString) ?? "";
  return normalizePlatform({
    os: field("os"),
    architecture: field("architecture"),
    variant: field("variant"),
  });
}

const architectures: Readonly<Record<string, readonly [architecture: string, variant?: string]>> = {
  i386: ["386"],
  "x86-64": ["amd64"],
  x86_64: ["amd64"],
  aarch64: ["arm64"],
  armhf: ["arm", "v7"],
  armel: ["arm", "v6"],
};
/** The variant that none means: it is written so. */
const usualVariants: Readonly<Record<string, string>> = { amd64: "v1", arm64: "v8" };

/** The one way to write a platform of which tools know several: as containerd normalises it. */
export function normalizePlatform({ os, architecture, variant }: Platform): Platform {
  const name = architecture.toLowerCase();
  const [normal, own] = architectures[name] ?? [name];
  const given = own ?? variant.toLowerCase();
  // `8` and `v8.0` are `v8`.
  const numbered = given.replace(/^(?=\d)/, "v").replace(/\.0$/, "");
  const full = normal === "arm" && numbered === "" ? "v7" : numbered;
  return {
    os: os.toLowerCase() === "macos" ? "darwin" : os.toLowerCase(),
    architecture: normal,
    variant: full === usualVariants[normal] ? "" : full,
  };
}

/** The platform of a Linux node by Node's name for its processor. */
export function platformOf(arch: string): Platform {
  const names: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386" };
  return normalizePlatform({ os: "linux", architecture: names[arch] ?? arch, variant: "" });
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, variant].filter((part) => part !== "").join("/");
}

/** What a node's processor runs, best first: its own variant, those below, and the 32-bit architecture that it has too. */
function runnableOn({ architecture, variant }: Platform): readonly string[] {
  const number = Number(/^v(\d+)/.exec(variant || (usualVariants[architecture] ?? ""))?.[1] ?? 0);
  const down = (name: string, from: number, to: number) =>
    Array.from({ length: Math.max(0, from - to + 1) }, (_, i) => `${name}/v${from - i}`);
  switch (architecture) {
    case "amd64":
      return [...down("amd64", number, 1), "386/"];
    case "arm64":
      return [...down("arm64", number, 8), ...down("arm", 8, 5)];
    case "arm":
      return down("arm", number, 5);
    default:
      return [`${architecture}/${variant}`];
  }
}

/** How well a program for `offered` runs on `node`: 0 is best, undefined not at all. As containerd's matcher chooses. */
export function rankOf(node: Platform, offered: Platform): number | undefined {
  if (offered.os !== node.os) return undefined;
  const { architecture, variant } = offered;
  const wanted = `${architecture}/${variant || (usualVariants[architecture] ?? "")}`;
  const rank = runnableOn(node).indexOf(wanted);
  return rank < 0 ? undefined : rank;
}

/** Whether a program for `offered` runs on `node`. */
export function isRunnable(node: Platform, offered: Platform): boolean {
  return rankOf(node, offered) !== undefined;
}
