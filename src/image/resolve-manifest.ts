import type { Context } from "../lib/context.ts";
import { AppError, invalidArgument } from "../lib/errors.ts";
import { type Manifest, parseManifest, selectManifest } from "../oci/manifest.ts";
import type { Platform } from "../oci/platform.ts";
import type { RemoteManifest, Repository } from "../registry/client.ts";

const maxIndexDepth = 4;

export interface ResolvedManifest {
  readonly manifest: Manifest;
  readonly manifests: readonly Uint8Array[];
}

/** From what the name led to down to the manifest for this platform. */
export async function resolveManifest(
  ctx: Context,
  repository: Repository,
  named: RemoteManifest,
  platform: Platform,
): Promise<ResolvedManifest> {
  const manifests: Uint8Array[] = [];
  let remote = named;
  for (let depth = 0; depth < maxIndexDepth; depth++) {
    const what = `manifest ${remote.digest}`;
    const parsed = parseManifest(remote.bytes, what, remote.mediaType);
    manifests.push(remote.bytes);
    if (parsed.kind === "manifest") return { manifest: parsed, manifests };
    const chosen = selectManifest(parsed, platform, what);
    remote = await repository.fetchManifest(ctx, chosen.digest);
    if (remote.bytes.byteLength !== chosen.sizeBytes) {
      throw new AppError(`manifest ${chosen.digest}: not ${chosen.sizeBytes} bytes`, {
        kind: "data-loss",
      });
    }
  }
  throw invalidArgument(`manifest ${named.digest}: indexes nested over ${maxIndexDepth} deep`);
}
