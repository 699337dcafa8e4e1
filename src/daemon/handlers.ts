import type { Context } from "../lib/context.ts";
import { describe, invalidArgument } from "../lib/errors.ts";
import type { RuntimeHandler } from "../runtime/handler.ts";
import { openOciCommand } from "../runtime/oci-command.ts";
import type { Config } from "./config.ts";

/** Where the programs of the embedded handlers are in the payload. */
const embedded: Readonly<Record<string, string>> = { runc: "runc", crun: "crun/crun" };

/**
 * The configured runtime handlers by name, the default one also under "". A handler that does not work is left out and
 * logged, so that one bad entry costs only its own pods; the default one must work.
 */
export async function openHandlers(
  ctx: Context,
  config: Config,
  systemdCgroup: boolean,
): Promise<ReadonlyMap<string, RuntimeHandler>> {
  const { defaultHandler, handlers: settings } = config.runtime;
  const handlers = new Map<string, RuntimeHandler>();
  for (const [name, { path }] of Object.entries(settings)) {
    try {
      const program = path === "" ? embeddedPath(config.payload, name) : path;
      const root = `${config.state}/runtime/${name}`;
      handlers.set(
        name,
        await openOciCommand(ctx, {
          name,
          path: program,
          root,
          systemdCgroup,
          withoutUnifiedPath: `${config.payload}/without-unified`,
        }),
      );
    } catch (err) {
      if (name === defaultHandler) throw new Error(`runtime handler ${name}`, { cause: err });
      ctx.log.warn("runtime handler left out", { handler: name, err: describe(err) });
    }
  }
  const first = handlers.get(defaultHandler);
  if (first === undefined) {
    throw invalidArgument(`runtime.default_handler: no handler is called ${defaultHandler}`);
  }
  return handlers.set("", first);
}

function embeddedPath(payload: string, name: string): string {
  const part = embedded[name];
  if (part === undefined) throw invalidArgument(`runtime.handlers.${name}.path is not set`);
  return `${payload}/${part}`;
}
