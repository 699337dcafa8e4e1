import { implementCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { parseCredentials } from "../image/credentials.ts";
import { pullImage } from "../image/pull-image.ts";

export const pull = implementCommand("pull", async (env, options, [image = ""]) => {
  using cri = env.connect();
  const credentials = parseCredentials(options.creds ?? env.variables["CRIB_CREDS"]);
  const reference = await pullImage(env, cri, image, { credentials, quiet: options.quiet });
  env.out.write(`${reference}\n`);
  return exitCodes.ok;
});
