import { invalidArgument } from "../lib/errors.ts";
import { asInteger, asObject, asString, optional } from "../lib/json.ts";
import { type Digest, parseDigest } from "./digest.ts";
import { type Platform, parsePlatform } from "./platform.ts";

/**
 * Names a blob by content (OCI image-spec, descriptor). Its `urls` are left out on purpose: bytes come from the
 * registry that was asked, never from an address that an image names.
 */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly platform: Platform | undefined;
}

export function parseDescriptor(value: unknown, what: string): Descriptor {
  const descriptor = asObject(value, what);
  const sizeBytes = asInteger(descriptor["size"], `${what}.size`);
  if (sizeBytes < 0) throw invalidArgument(`${what}.size: negative`);
  return {
    mediaType: optional(descriptor["mediaType"], `${what}.mediaType`, asString) ?? "",
    digest: parseDigest(asString(descriptor["digest"], `${what}.digest`)),
    sizeBytes,
    platform: optional(descriptor["platform"], `${what}.platform`, parsePlatform),
  };
}

/** A part of a blob: from `start` up to, and without, `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}
