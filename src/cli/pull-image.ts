import type { CriClient } from "./client.ts";
import type { CommandEnv } from "./command.ts";
import type { Credentials } from "./credentials.ts";
import { startProgress } from "./progress.ts";

export interface PullOptions {
  readonly credentials: Credentials | undefined;
  readonly quiet: boolean;
}

/** Pulls and answers the image's reference, showing on a terminal that something goes on. */
export async function pullImage(
  env: CommandEnv,
  cri: CriClient,
  image: string,
  { credentials, quiet }: PullOptions,
): Promise<string> {
  using _progress = quiet ? undefined : startProgress(env.out, () => `pulling ${image}`);
  const { imageRef } = await cri.images.pullImage(
    { image: { image, userSpecifiedImage: image }, ...(credentials && { auth: credentials }) },
    { signal: env.ctx.signal },
  );
  return imageRef;
}
