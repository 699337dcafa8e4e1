import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { AppError } from "../lib/errors.ts";
import { asInteger, asList, asObject, asString, optional, parseJson } from "../lib/json.ts";
import { chainIdHex, parseChainId } from "../oci/chain-id.ts";
import { parseDigest } from "../oci/digest.ts";
import type { Layer } from "./snapshotter.ts";

const fileName = "layer.json";
const maxRecordBytes = 1 << 20;

/** What is known of a layer that has been unpacked, in its directory. */
export interface StoredLayer extends Layer {
  /** Layers below it do not show. */
  readonly isRootOpaque: boolean;
}

export function writeLayerRecord(directory: string, layer: StoredLayer): void {
  writeFileSync(join(directory, fileName), JSON.stringify(layer), { mode: 0o600 });
}

/** Throws for a directory that is not called as the layer in it is, or has none. */
export function readLayerRecord(directory: string): StoredLayer {
  const text = readFileSync(join(directory, fileName));
  const record = asObject(parseJson(text, fileName, { maxBytes: maxRecordBytes }), "layer");
  const chainId = parseChainId(asString(record["chainId"], "chainId"));
  if (chainIdHex(chainId) !== basename(directory) || !existsSync(join(directory, "fs"))) {
    throw new AppError("another layer, or no files", { kind: "data-loss" });
  }
  return {
    chainId,
    diffId: parseDigest(asString(record["diffId"], "diffId")),
    usedBytes: asInteger(record["usedBytes"], "usedBytes"),
    inodes: asInteger(record["inodes"], "inodes"),
    tarBytes: optional(record["tarBytes"], "tarBytes", asInteger),
    isRootOpaque: record["isRootOpaque"] === true,
    leftOut: asList(record["leftOut"], "leftOut", asString),
  };
}
