import type { DescMessage, DescMethodUnary, MessageInitShape } from "@bufbuild/protobuf";
import type { Context } from "../../lib/context.ts";
import { describe } from "../../lib/errors.ts";
import { eventOf } from "../events.ts";
import type { Plugins } from "./plugins.ts";

type EventMethod<Input extends DescMessage> = DescMethodUnary<Input, DescMessage>;

/** Asks every plugin that wants to know of the event; what one says against it is thrown, and the rest is not asked. */
export async function ask<Input extends DescMessage>(
  ctx: Context,
  plugins: Plugins,
  method: EventMethod<Input>,
  message: () => MessageInitShape<Input>,
): Promise<void> {
  if (plugins.isIdle) return;
  await plugins.inTurn(ctx, async (connected) => {
    const wanting = connected.filter((plugin) => plugin.wants(eventOf(method)));
    if (wanting.length === 0) return;
    const input = message();
    for (const plugin of wanting) await plugin.ask(ctx, method, input);
  });
}

/** For what has happened already: nobody can say anything against it. */
export async function tell<Input extends DescMessage>(
  ctx: Context,
  plugins: Plugins,
  method: EventMethod<Input>,
  message: () => MessageInitShape<Input>,
): Promise<void> {
  try {
    await ask(ctx, plugins, method, message);
  } catch (err) {
    ctx.log.warn("NRI notification failed", { event: method.name, err: describe(err) });
  }
}
