import { readFileSync, statSync } from "node:fs";
import { failedPrecondition } from "../lib/errors.ts";
import type { Material } from "./requirement.ts";

const maxBytes = 1 << 20;

/** What a policy names or holds. */
export function readMaterial(material: Material): Buffer {
  if ("data" in material) return material.data;
  const { path } = material;
  let status: ReturnType<typeof statSync>;
  try {
    status = statSync(path);
    if (status.isFile() && status.size <= maxBytes) return readFileSync(path);
  } catch (cause) {
    throw failedPrecondition(`read ${path}`, cause);
  }
  throw failedPrecondition(`${path}: no file of at most ${maxBytes} bytes`);
}

/** For messages. */
export function nameOf(material: Material): string {
  return "path" in material ? material.path : "the policy's own data";
}

/** The blocks of a PEM file that are called one of `labels`, whole. */
export function pemBlocks(pem: string, ...labels: readonly string[]): readonly string[] {
  const blocks = pem.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----[\sA-Za-z0-9+/=]*-----END \1-----/g);
  return [...blocks].filter(([, label = ""]) => labels.includes(label)).map(([block]) => block);
}
