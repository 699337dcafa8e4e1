import { notFound } from "../lib/errors.ts";
import type { RuntimeHandler } from "../runtime/oci/handler.ts";
import type { ContainerDeps } from "./deps.ts";
import { type AnnotationPatterns, noPatterns } from "./spec/annotations.ts";

/** The handler that a RuntimeClass names; "" is the default one. */
export function getHandler(
  handlers: ReadonlyMap<string, RuntimeHandler>,
  name: string,
): RuntimeHandler {
  const handler = handlers.get(name);
  if (handler === undefined)
    throw notFound(`runtime handler ${JSON.stringify(name)} is not configured`);
  return handler;
}

/** The annotations of clients that this handler is shown: none unless the configuration says so. */
export function annotationPatterns(
  deps: Pick<ContainerDeps, "annotationPatterns">,
  handler: string,
): AnnotationPatterns {
  return deps.annotationPatterns.get(handler) ?? noPatterns;
}
