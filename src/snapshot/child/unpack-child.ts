import type { Context } from "../../lib/context.ts";
import { kindOf } from "../../lib/errors.ts";
import type { Digest } from "../../oci/digest.ts";
import { openPipe } from "../../os/file/io.ts";
import { setPipeSize } from "../../os/file/pipe-size.ts";
import { roleArgv } from "../../os/process/role.ts";
import type { CompletionOrder } from "../layer/complete-layer.ts";
import type { LayerReport } from "../layer/layer-report.ts";
import type { LayerFinding } from "../layer/verify-layer.ts";
import { UnpackProcess } from "./unpack-process.ts";

/** The command line of `crib unpack` with these arguments. Tests that run from source have one of their own. */
export type UnpackArgv = (...args: readonly string[]) => readonly string[];

export const unpackArgv: UnpackArgv = (...args) => roleArgv("unpack", ...args);

const pipeBytes = 1 << 20;

/*
 * What `crib unpack` does (unpack-role.ts), as calls. Whatever goes wrong, the children are gone afterwards.
 * Reports are believed: our own program wrote them, from what it counted itself.
 */

/** Unpacks `source` into `directory`/fs. */
export async function applyInChild(
  ctx: Context,
  argv: UnpackArgv,
  directory: string,
  source: AsyncIterable<Uint8Array>,
): Promise<LayerReport> {
  await using child = new UnpackProcess(ctx, argv("apply", directory));
  await child.feed(source);
  return (await child.report()) as LayerReport;
}

/**
 * The same in two children, one that decompresses and one that writes, on a core each. The first, where native code reads
 * what an image brought, is confined to `empty` and has no rights at all.
 */
export async function applyInTwoChildren(
  ctx: Context,
  argv: UnpackArgv,
  { directory, empty }: { readonly directory: string; readonly empty: string },
  source: AsyncIterable<Uint8Array>,
): Promise<LayerReport> {
  await using children = new AsyncDisposableStack();
  const { decompressor, writer } = startTwo();
  const feeding = decompressor.feed(source).catch((err: unknown) => {
    decompressor.kill();
    throw err;
  });
  const [expansion, layer] = await Promise.allSettled([
    feeding.then(() => decompressor.report()),
    writer.report(),
  ]);
  const isBrokenPipe = expansion.status === "rejected" && kindOf(expansion.reason) === "aborted";
  if (expansion.status === "rejected" && !isBrokenPipe) throw expansion.reason;
  if (layer.status === "rejected") throw layer.reason;
  if (expansion.status === "rejected") throw expansion.reason;
  return layer.value as LayerReport;

  /** The daemon keeps neither end of the pipe between them. */
  function startTwo() {
    const { readEnd, writeEnd } = openPipe();
    using _read = readEnd;
    using _write = writeEnd;
    setPipeSize(writeEnd.fd, pipeBytes);
    return {
      writer: children.use(new UnpackProcess(ctx, argv("write", directory), { stdin: readEnd.fd })),
      decompressor: children.use(
        new UnpackProcess(ctx, argv("decompress", empty), { output: writeEnd.fd }),
      ),
    };
  }
}

export async function completeInChild(
  ctx: Context,
  argv: UnpackArgv,
  directory: string,
  order: CompletionOrder,
): Promise<void> {
  await using child = new UnpackProcess(ctx, argv("complete", directory));
  await child.feed([Buffer.from(JSON.stringify(order))]);
  await child.report();
}

/** Compares the layer in `directory` with its recipe and its diffID. */
export async function verifyInChild(
  ctx: Context,
  argv: UnpackArgv,
  directory: string,
  diffId: Digest,
  leftOut: readonly string[],
): Promise<LayerFinding> {
  await using child = new UnpackProcess(ctx, argv("verify", directory, diffId, ...leftOut));
  return (await child.report()) as LayerFinding;
}
