import { defineCommand } from "../command.ts";
import { exitCodes } from "../failure.ts";
import { parseCredentials } from "../image/credentials.ts";
import { pullImage } from "../image/pull-image.ts";

export const pull = defineCommand({
  name: "pull",
  group: "images",
  summary: "pull an image from its registry",
  usage: "IMAGE",
  details:
    "Prints the reference of what was pulled, by digest. CRIB_CREDS=USER:PASS does what --creds does without showing it in the process list.",
  examples: [
    "crib pull docker.io/library/alpine:3",
    "crib pull registry.local/app@sha256:0a1b...",
    "CRIB_CREDS=me:secret crib pull registry.local/app:1",
  ],
  options: {
    creds: { kind: "value", argument: "USER:PASS", help: "credentials for the registry" },
    quiet: { kind: "flag", short: "q", help: "no progress" },
  },
  positionals: { min: 1, max: 1 },
  async run(env, options, [image = ""]) {
    using cri = env.connect();
    const credentials = parseCredentials(options.creds ?? env.variables["CRIB_CREDS"]);
    const reference = await pullImage(env, cri, image, { credentials, quiet: options.quiet });
    env.out.write(`${reference}\n`);
    return exitCodes.ok;
  },
});
