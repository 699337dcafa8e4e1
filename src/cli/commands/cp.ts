import { posix, resolve } from "node:path";
import { failedPrecondition, notFound } from "../../lib/errors.ts";
import type { CriClient } from "../client.ts";
import { type CommandEnv, implementCommand } from "../command.ts";
import { parsePlace, planCopy } from "../copy/plan.ts";
import { lookAt, openContainer, openNode, type Tree, transfer } from "../copy/transfer.ts";
import { exitCodes, UsageError } from "../failure.ts";

type Place = Exclude<ReturnType<typeof parsePlace>, { readonly kind: "stream" }>;

export const cp = implementCommand("cp", async (env, options, [fromText = "", toText = ""]) => {
  const [from, to] = [parsePlace(fromText), parsePlace(toText)];
  if ([from, to].filter(({ kind }) => kind === "container").length !== 1) {
    throw new UsageError("exactly one side has to be CONTAINER:PATH");
  }
  const keepsOwners = options.archive;
  using cri = env.connect();
  using trees = new DisposableStack();
  const open = async (place: Place) => trees.use(await openPlace(env, cri, place));
  if (from.kind === "stream") {
    if (to.kind === "stream") throw new UsageError("both sides are -");
    const tree = await open(to);
    const found = await lookAt(env, tree, pathOf(to), true);
    if (found.kind === "absent") throw notFound(`copy to ${toText}: no such directory`);
    if (found.kind !== "directory") throw failedPrecondition(`copy to ${toText}: not a directory`);
    await transfer(env, "stdin", { tree, directory: found.path, keepsOwners });
    return exitCodes.ok;
  }
  const source = await open(from);
  const follow = options["follow-link"] || /(^|\/)\.?$/.test(fromText);
  const look = await lookAt(env, source, pathOf(from), follow);
  const packed = { tree: source, path: look.path, follow };
  if (to.kind === "stream") {
    if (look.kind === "absent") throw notFound(`copy from ${fromText}: nothing is there`);
    const name = posix.basename(look.path) || ".";
    if (env.out.isTerminal) throw new UsageError("a tar stream is nothing for a terminal");
    await transfer(env, { ...packed, name: /(^|\/)\.$/.test(fromText) ? "." : name }, "stdout");
    return exitCodes.ok;
  }
  const target = await open(to);
  const plan = planCopy(
    { text: fromText, found: look },
    { text: toText, found: await lookAt(env, target, pathOf(to), true) },
  );
  // Files of a container are unpacked in the very directory, and nothing of it leads out.
  const below = to.kind === "node" ? trees.use(openNode(plan.directory)) : target;
  const directory = to.kind === "node" ? "/" : plan.directory;
  await transfer(env, { ...packed, name: plan.name }, { tree: below, directory, keepsOwners });
  return exitCodes.ok;
});

async function openPlace(env: CommandEnv, cri: CriClient, place: Place): Promise<Tree> {
  if (place.kind === "node") return openNode();
  if (place.key === "") throw new UsageError("the container's name is empty");
  return await openContainer(cri, place.key, env.ctx.signal);
}

/** Absolute. Of a container a relative one is below its root. */
function pathOf(place: Place): string {
  return place.kind === "node" ? resolve(place.path) : posix.resolve("/", place.path);
}
