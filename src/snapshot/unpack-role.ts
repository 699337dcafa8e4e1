import { constants, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { AppError, describe, invalidArgument, kindOf } from "../lib/errors.ts";
import { asArray, asObject, asString, parseJson } from "../lib/json.ts";
import {
  CLONE_NEWNS,
  chroot,
  RLIMIT_CORE,
  RLIMIT_FSIZE,
  RLIMIT_NOFILE,
  setNoNewPrivileges,
  setResourceLimit,
  umask,
} from "../os/confine.ts";
import { openFile, syncFileSystem } from "../os/inode.ts";
import { MS_PRIVATE, MS_REC, mount } from "../os/mount.ts";
import { unshare } from "../os/namespaces.ts";
import { applyLayer } from "./apply-layer.ts";
import { completeLayer } from "./complete-layer.ts";
import { layerLimits, type UnpackFailure } from "./layer-report.ts";
import { rebuildLayer } from "./rebuild-layer.ts";
import type { RecipeFiles } from "./recipe-recorder.ts";

const maxOpenFiles = 1024;
const maxOrderBytes = 64 << 20;

/**
 * The child that does what a daemon must not: it confines itself and then handles what an image brought.
 *   apply DIR     unpacks the layer on stdin into DIR/fs, chrooted there; writes its recipe in DIR; reports JSON on stdout
 *   rebuild DIR   writes the layer's archive to stdout, from DIR/fs and the recipe; failures go to stderr
 *   complete DIR  finishes DIR/fs with what the layers below have; the order is JSON on stdin
 *   sync DIR      waits until the file system of DIR is on disk
 * Answers the exit code: 0, or 1 with an `UnpackFailure` on stdout.
 */
export async function runUnpack(argv: readonly string[]): Promise<number> {
  const [step, directory] = argv;
  try {
    if (directory === undefined) throw invalidArgument("crib unpack STEP DIRECTORY");
    if (step === "rebuild") rebuild(directory);
    else say(await run(step, directory));
    return 0;
  } catch (err) {
    const failure: UnpackFailure = { kind: kindOf(err), error: describe(err) };
    say(failure, step === "rebuild" ? 2 : 1);
    return 1;
  }
}

async function run(step: string | undefined, directory: string): Promise<unknown> {
  switch (step) {
    case "apply": {
      const recipe = openRecipe(directory, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL);
      confine();
      chroot(join(directory, "fs"));
      return applyLayer(Bun.stdin.stream(), layerLimits, recipe);
    }
    case "complete": {
      const order = readOrder();
      confine();
      completeLayer(directory, order);
      return {};
    }
    case "sync": {
      using fd = openFile(Buffer.from(directory), { directory: true });
      syncFileSystem(fd.fd);
      return {};
    }
    default:
      throw invalidArgument("crib unpack apply | rebuild | complete | sync");
  }
}

function rebuild(directory: string): void {
  const recipe = openRecipe(directory, constants.O_RDONLY);
  confine();
  chroot(join(directory, "fs"));
  rebuildLayer(recipe, (bytes) => writeAll(1, bytes));
}

/** They are closed when the process ends. */
function openRecipe(directory: string, flags: number): RecipeFiles {
  const open = (name: string) => openSync(join(directory, name), flags, 0o600);
  return { recipe: open("recipe"), replaced: open("replaced") };
}

/** A mount namespace of our own (and with it, this thread's own root directory and umask), and no way to more rights. */
function confine(): void {
  setResourceLimit(RLIMIT_CORE, 0);
  setResourceLimit(RLIMIT_NOFILE, maxOpenFiles);
  setResourceLimit(RLIMIT_FSIZE, layerLimits.expandedBytes);
  setNoNewPrivileges();
  unshare(CLONE_NEWNS);
  mount("none", "/", "", MS_REC | MS_PRIVATE);
  umask(0);
}

function readOrder() {
  const order = asObject(
    parseJson(readFileSync(0), "completion order", { maxBytes: maxOrderBytes }),
    "completion order",
  );
  const strings = (value: unknown, what: string): readonly string[] =>
    asArray(value, what, 1 << 22).map((item) => asString(item, what));
  return {
    lower: strings(order["lower"], "lower"),
    implied: strings(order["implied"], "implied"),
    links: asArray(order["links"], "links", 1 << 22).map((pair) => {
      const [name, target] = strings(pair, "link");
      if (name === undefined || target === undefined)
        throw new AppError("link", { kind: "internal" });
      return [name, target] as const;
    }),
  };
}

function say(value: unknown, fd = 1): void {
  writeAll(fd, Buffer.from(JSON.stringify(value)));
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.byteLength; ) at += writeSync(fd, bytes, at);
}
