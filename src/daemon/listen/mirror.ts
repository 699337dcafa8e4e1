import { type DistributionServer, serveDistribution } from "../../distribution/server.ts";
import type { OpenImages } from "../../image/open.ts";
import { findServedBlob, findServedManifest, listServedTags } from "../../image/served-images.ts";
import type { Context } from "../../lib/context.ts";
import { invalidArgument } from "../../lib/errors.ts";
import type { Config } from "../config/config.ts";

/** Layers that are made and sent at the same time. Each takes a child and half a core. */
const maxBlobs = 8;

/** Serves the store to other nodes where the configuration says so. */
export async function serveMirror(
  ctx: Context,
  { mirror }: Pick<Config, "mirror">,
  images: OpenImages,
): Promise<DistributionServer | undefined> {
  if (mirror.listen === "") return undefined;
  const [host, port] = splitAddress(mirror.listen);
  let taken = 0;
  const server = await serveDistribution(
    ctx,
    {
      findManifest: (own, name, reference) => findServedManifest(own, images, name, reference),
      findBlob: (own, name, digest) => findServedBlob(own, images, name, digest),
      listTags: (name) => listServedTags(images, name),
      tryEnter: () => {
        if (taken === maxBlobs) return undefined;
        taken++;
        return { [Symbol.dispose]: () => void taken-- };
      },
    },
    { host, port, certificate: mirror.tlsCertFile, key: mirror.tlsKeyFile },
  );
  ctx.log.info("serving images", { address: host, port: server.port });
  return server;
}

export function splitAddress(address: string): readonly [host: string, port: number] {
  const [, bracketed, plain, port] = /^(?:\[(.+)\]|([^:]*)):(\d+)$/.exec(address) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined) throw invalidArgument(`address ${address}`);
  return [host, Number(port)];
}
