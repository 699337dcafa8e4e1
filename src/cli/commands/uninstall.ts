import { readdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { paths } from "../../install/node-files.ts";
import { removeFiles } from "../../install/place-files.ts";
import { detectInit, openService } from "../../install/service.ts";
import { failedPrecondition } from "../../lib/errors.ts";
import { implementCommand } from "../command.ts";
import { confirm } from "../confirm.ts";
import { exitCodes } from "../failure.ts";
import { requireRoot } from "../node-service.ts";
import { resetStopped } from "./reset.ts";

const nowhere = { config: undefined, root: undefined, state: undefined, listen: undefined };

export const killall = implementCommand("killall", async (env, options) => {
  requireRoot("killall");
  const what = "This stops crib, all pods and all containers of this node.";
  if (!options.yes && !(await confirm(env, what))) return exitCodes.failed;
  await openService(detectInit("")).stop();
  return await resetStopped(env, await env.loadNodeTools(nowhere), false);
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

export const uninstall = implementCommand("uninstall", async (env, options) => {
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
});
