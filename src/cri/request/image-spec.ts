import type * as pb from "../../gen/runtime/v1/api_pb.ts";
import { invalidArgument } from "../../lib/errors.ts";
import type { NodeDeps } from "../deps.ts";
import { fail } from "./check-metadata.ts";

// A reference has at most 255 characters of name, 128 of tag and 71 of digest (distribution-spec).
const maxReferenceLength = 512;

/** The name or id of a request; what it means is the domain's. */
export function referenceOf(spec: pb.ImageSpec | undefined): string {
  const ref = spec?.image ?? "";
  if (ref === "") throw invalidArgument("image is missing");
  if (ref.length > maxReferenceLength || !/^[\x21-\x7e]+$/.test(ref)) {
    throw fail("image", ref, "not an image reference");
  }
  return ref;
}

/** The runtime handler that a pull is for, if it names one. */
export function checkHandler(
  spec: pb.ImageSpec | undefined,
  { handlers }: Pick<NodeDeps, "handlers">,
): void {
  const wanted = spec?.runtimeHandler ?? "";
  if (wanted === "" || handlers.some(({ name }) => name === wanted)) return;
  throw fail("image.runtime_handler", wanted, "no such handler");
}
