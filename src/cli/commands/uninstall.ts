import { readdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { paths } from "../../install/node-files.ts";
import { removeFiles } from "../../install/place-files.ts";
import { detectInit, openService } from "../../install/service.ts";
import { failedPrecondition } from "../../lib/errors.ts";
import { defineCommand } from "../command.ts";
import { confirm } from "../confirm.ts";
import { exitCodes } from "../failure.ts";
import { requireRoot } from "../node-service.ts";
import { resetStopped } from "./reset.ts";

const nowhere = { config: undefined, root: undefined, state: undefined, listen: undefined };

export const killall = defineCommand({
  name: "killall",
  group: "node",
  summary: "stop crib and everything that it runs; images stay",
  usage: "",
  details:
    "The service is stopped, every container ended, every mount and network of pods removed. Stop the kubelet first: it makes its pods anew. The service starts again at the next boot, or by hand.",
  examples: ["systemctl stop kubelet && crib killall --yes"],
  options: { yes: { kind: "flag", short: "y", help: "do not ask" } },
  positionals: { min: 0, max: 0 },
  async run(env, options) {
    requireRoot("killall");
    const what = "This stops crib, all pods and all containers of this node.";
    if (!options.yes && !(await confirm(env, what))) return exitCodes.failed;
    await openService(detectInit("")).stop();
    return await resetStopped(env, await env.loadNodeTools(nowhere), false);
  },
});

/** The executables, and what an upgrade that was killed has left of its own. */
const names =
  /^crib(\.previous|\.staged)?(\.next)?$|^crib\.back$|^crib\.upgrading(\.new|\.[0-9a-f]{12}\.tmp)?$/;

function removeExecutables(): void {
  const directory = dirname(paths.executable);
  for (const name of readdirSync(directory)) {
    if (names.test(name)) rmSync(`${directory}/${name}`);
  }
}

export const uninstall = defineCommand({
  name: "uninstall",
  group: "node",
  summary: "take crib off this node",
  usage: "",
  details: [
    "Stops everything as `crib killall` does, then removes the service and what `crib install` has put on the node. Images,",
    "records and files that somebody has changed stay, unless --purge.",
  ].join(" "),
  examples: ["crib uninstall --yes", "crib uninstall --purge --yes"],
  options: {
    purge: { kind: "flag", help: "also images, records, and files that were changed" },
    yes: { kind: "flag", short: "y", help: "do not ask" },
  },
  positionals: { min: 0, max: 0 },
  async run(env, options) {
    requireRoot("uninstall");
    const what = `This removes all pods of this node and crib itself${options.purge ? ", with all images" : ""}.`;
    if (!options.yes && !(await confirm(env, what))) return exitCodes.failed;
    await openService(detectInit("")).disable();
    const code = await resetStopped(env, await env.loadNodeTools(nowhere), options.purge);
    if (code !== exitCodes.ok) throw failedPrecondition("not all pods are gone: do it again");
    for (const path of removeFiles("", { all: options.purge })) {
      env.out.write(`${path} stays: it was changed\n`);
    }
    removeExecutables();
    rmSync(paths.libexec, { recursive: true, force: true });
    return code;
  },
});
