import { notFound } from "../lib/errors.ts";
import type { RuntimeHandler } from "../runtime/oci/handler.ts";

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
