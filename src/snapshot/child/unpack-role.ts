import { readFileSync, readSync } from "node:fs";
import { dirname, join } from "node:path";
import { AppError, describe, invalidArgument, kindOf } from "../../lib/errors.ts";
import { asArray, asObject, asString, parseJson } from "../../lib/json.ts";
import { type Digest, parseDigest } from "../../oci/digest.ts";
import { isErrno } from "../../os/errno-error.ts";
import { writeAll } from "../../os/file/blocking-io.ts";
import { openFile, syncFileSystem } from "../../os/file/inode.ts";
import { applyLayer, writeLayer } from "../layer/apply-layer.ts";
import { completeLayer } from "../layer/complete-layer.ts";
import { openDecompressors } from "../layer/decompress.ts";
import { decompressLayer } from "../layer/decompress-layer.ts";
import {
  type LayerLimits,
  layerLimits,
  parseLimits,
  type UnpackFailure,
} from "../layer/layer-report.ts";
import { type LayerFinding, verifyLayer } from "../layer/verify-layer.ts";
import { rebuildLayer } from "../recipe/rebuild-layer.ts";
import { openNewRecipe, openRecipe } from "../recipe/recipe-files.ts";
import { confine, confineEntirely, confineTo } from "./confinement.ts";
import { unpackSeries } from "./unpack-series.ts";

const maxOrderBytes = 64 << 20;
const inputBytes = 256 << 10;
/** Where `decompress` writes what comes out. */
const decompressedFd = 3;

/** The decompressors lie beside the program in the payload. */
const payloadLibraries = join(dirname(process.execPath), "lib");

/**
 * The child that does what a daemon must not: it confines itself and then handles what an image brought.
 * What unpacks takes its limits as a third word (layer-report.ts).
 *   apply DIR     unpacks the layer on stdin into DIR/fs, chrooted there; writes its recipe in DIR; reports JSON on stdout
 *   decompress DIR    decompresses the layer on stdin to descriptor 3, chrooted into the empty DIR
 *   write DIR     is `apply` for what `decompress` gives
 *   series DIR    is `apply` for one small layer after the other (unpack-series.ts), of DIR/NAME each
 *   rebuild DIR   writes the layer's archive to stdout, from DIR/fs and the recipe; failures go to stderr
 *   verify DIR ID NAME... compares DIR/fs with the recipe, and both with the diffID; reports JSON on stdout. No file has
 *                 attributes of those names
 *   complete DIR  finishes DIR/fs with what the layers below have; the order is JSON on stdin
 *   sync DIR      for each byte on stdin waits until the file system of DIR is on disk, and then writes one to stdout
 * Returns the exit code: 0, or 1 with an `UnpackFailure` on stdout.
 */
export async function runUnpack(
  argv: readonly string[],
  libraries: string = payloadLibraries,
): Promise<number> {
  const [step, directory, third, ...more] = argv;
  try {
    if (directory === undefined) throw invalidArgument("crib unpack STEP DIRECTORY");
    if (step === "rebuild") rebuild(directory);
    else if (step === "sync") sync(directory);
    else if (step === "series") await unpackSeries(directory, libraries, parseLimits(third));
    else if (step === "verify") say(verify(directory, parseDigest(third ?? ""), more));
    else say(await run(step, directory, libraries, parseLimits(third)));
    return 0;
  } catch (err) {
    const failure: UnpackFailure = { kind: kindOf(err), error: describe(err) };
    say(failure, step === "rebuild" ? 2 : 1);
    return 1;
  }
}

async function run(
  step: string | undefined,
  directory: string,
  libraries: string,
  limits: LayerLimits,
): Promise<unknown> {
  switch (step) {
    case "apply": {
      const native = openDecompressors(libraries);
      const recipe = openNewRecipe(directory);
      confineTo(join(directory, "fs"), limits);
      return await applyLayer(asyncPiecesOf(0), native, limits, recipe);
    }
    case "decompress": {
      const native = openDecompressors(libraries);
      confineEntirely(directory);
      await decompressLayer(asyncPiecesOf(0), native, limits, passOn);
      return {};
    }
    case "write": {
      const recipe = openNewRecipe(directory);
      confineTo(join(directory, "fs"), limits);
      return writeLayer(piecesOf(0), limits, recipe);
    }
    case "complete": {
      const order = readOrder();
      confine(layerLimits);
      completeLayer(directory, order);
      return {};
    }
    default:
      throw invalidArgument(
        "crib unpack apply | decompress | write | series | rebuild | verify | complete | sync",
      );
  }
}

function rebuild(directory: string): void {
  const recipe = openRecipe(directory);
  confineTo(join(directory, "fs"), layerLimits);
  rebuildLayer(recipe, (bytes) => writeAll(1, bytes));
}

function verify(directory: string, diffId: Digest, leftOut: readonly string[]): LayerFinding {
  const recipe = openRecipe(directory);
  confineTo(join(directory, "fs"), layerLimits);
  return verifyLayer(recipe, diffId, new Set(leftOut));
}

/** The descriptor stays open in between: whatever failed to reach the disk since then is reported at the next call. */
function sync(directory: string): void {
  using fd = openFile(Buffer.from(directory), { directory: true });
  for (const requests of piecesOf(0)) {
    for (const _ of requests) {
      syncFileSystem(fd.fd);
      writeAll(1, Buffer.from("."));
    }
  }
}

/** Reading blocks: the process has nothing else to do. A piece is valid until the next one. */
function* piecesOf(fd: number): Generator<Uint8Array> {
  const buffer = Buffer.alloc(inputBytes);
  for (let count = readSync(fd, buffer); count > 0; count = readSync(fd, buffer)) {
    yield buffer.subarray(0, count);
  }
}

async function* asyncPiecesOf(fd: number): AsyncGenerator<Uint8Array> {
  yield* piecesOf(fd);
}

/** Nobody reads any more when the other child has failed; it says why. */
function passOn(piece: Uint8Array): void {
  try {
    writeAll(decompressedFd, piece);
  } catch (cause) {
    if (!isErrno(cause, "EPIPE")) throw cause;
    throw new AppError("nobody takes what is decompressed", { kind: "aborted", cause });
  }
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
      if (name === undefined || target === undefined) {
        throw new AppError("completion order: a link of less than two names", { kind: "internal" });
      }
      return [name, target] as const;
    }),
  };
}

function say(value: unknown, fd = 1): void {
  writeAll(fd, Buffer.from(JSON.stringify(value)));
}
