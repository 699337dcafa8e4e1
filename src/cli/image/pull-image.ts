import { Code, ConnectError } from "@connectrpc/connect";
import type { CriClient } from "../client.ts";
import type { CommandEnv } from "../command.ts";
import { startProgress } from "../output/progress.ts";
import type { BasicCredentials } from "./credentials.ts";
import { LayerBars } from "./layer-bars.ts";

export interface PullImageOptions {
  readonly credentials: BasicCredentials | undefined;
  readonly quiet: boolean;
}

/** Pulls and returns the image's reference. On a terminal with a bar for each layer, where the daemon reports them. */
export async function pullImage(
  env: CommandEnv,
  cri: CriClient,
  image: string,
  options: PullImageOptions,
): Promise<string> {
  if (options.quiet || !env.out.canRedraw) return await pullByCri(env, cri, image, options);
  try {
    return await pullWithBars(env, cri, image, options);
  } catch (err) {
    // Another runtime's socket.
    if (!(err instanceof ConnectError) || err.code !== Code.Unimplemented) throw err;
    using _progress = startProgress(env.out, () => `pulling ${image}`);
    return await pullByCri(env, cri, image, options);
  }
}

async function pullByCri(
  env: CommandEnv,
  cri: CriClient,
  image: string,
  { credentials }: PullImageOptions,
): Promise<string> {
  const { imageRef } = await cri.images.pullImage(
    { image: { image, userSpecifiedImage: image }, ...(credentials && { auth: credentials }) },
    { signal: env.ctx.signal },
  );
  return imageRef;
}

async function pullWithBars(
  env: CommandEnv,
  cri: CriClient,
  image: string,
  { credentials }: PullImageOptions,
): Promise<string> {
  using bars = new LayerBars(env.out);
  const request = { image, ...(credentials && { credentials }) };
  let reference = "";
  for await (const { layers, imageRef } of cri.admin.pullImage(request, {
    signal: env.ctx.signal,
  })) {
    bars.draw(layers);
    reference = imageRef;
  }
  return reference;
}
