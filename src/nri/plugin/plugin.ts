import type {
  DescMessage,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import * as nri from "../../gen/nri/v1alpha1/api_pb.ts";
import type { Context } from "../../lib/context.ts";
import { AppError, describe, kindOf } from "../../lib/errors.ts";
import type { TtrpcClient } from "../../ttrpc/client.ts";
import { RemoteError } from "../../ttrpc/status.ts";
import { type EventName, eventOf, events, has, isStateChange } from "../events.ts";

export interface PluginIdentity {
  /** Two digits: plugins are called in this order. */
  readonly index: string;
  readonly name: string;
}

export interface PluginSubscription {
  readonly events: number;
  /** A request that the plugin does not respond to fails, instead of going on without it. */
  readonly failRequest: boolean;
  /** A plugin that has once been too slow stays. */
  readonly keepConnected: boolean;
}

/** A plugin that has registered and said which events it wants. Disposing closes its connection. */
export class Plugin implements Disposable {
  readonly identity: PluginIdentity;
  readonly #client: TtrpcClient;
  readonly #subscription: PluginSubscription;
  readonly #timeoutMs: number;
  /** Events that the plugin takes as StateChange only. */
  readonly #old = new Set<EventName>();

  constructor(
    client: TtrpcClient,
    identity: PluginIdentity,
    subscription: PluginSubscription,
    timeoutMs: number,
  ) {
    this.identity = identity;
    this.#client = client;
    this.#subscription = subscription;
    this.#timeoutMs = timeoutMs;
  }

  /** `10-logger`, as it is called in messages and by other plugins. */
  get title(): string {
    return `${this.identity.index}-${this.identity.name}`;
  }

  get gone(): AbortSignal {
    return this.#client.gone;
  }

  wants(event: EventName): boolean {
    return !this.gone.aborted && has(this.#subscription.events, event);
  }

  /**
   * Asks the plugin. Throws what it returns against the request. A plugin that does not respond is closed, unless it
   * asked to stay, and the request goes on without it (`undefined`), unless it asked that it fail.
   */
  async ask<Input extends DescMessage, Output extends DescMessage>(
    ctx: Context,
    method: DescMethodUnary<Input, Output>,
    input: MessageInitShape<Input>,
  ): Promise<MessageShape<Output> | undefined> {
    const { failRequest, keepConnected } = this.#subscription;
    try {
      return await this.#call(ctx, method, input);
    } catch (cause) {
      const step = `NRI plugin ${this.title}: ${method.name}`;
      const kind = kindOf(cause);
      // The deadline went along with the request: a plugin's side may be the first to say that it has passed.
      const isResponse = cause instanceof RemoteError && kind !== "deadline-exceeded";
      if (isResponse) throw refusal(step, cause);
      if (ctx.signal.aborted || (kind !== "deadline-exceeded" && kind !== "unavailable")) {
        throw new Error(step, { cause });
      }
      const stays = kind === "deadline-exceeded" && keepConnected;
      if (!stays) this[Symbol.dispose]();
      ctx.log.warn("NRI plugin timed out", {
        plugin: this.title,
        event: method.name,
        disconnected: !stays,
        err: describe(cause),
      });
      if (failRequest) throw new AppError(step, { kind: "unavailable", cause });
      return undefined;
    }
  }

  /** Gives the plugin everything that is there, in messages that fit. Returns the changes that it wants. */
  async synchronize(
    ctx: Context,
    batches: readonly MessageInitShape<typeof nri.SynchronizeRequestSchema>[],
    timeoutMs: number,
  ): Promise<readonly nri.ContainerUpdate[]> {
    for (const [i, batch] of batches.entries()) {
      const more = i + 1 < batches.length;
      const method = nri.Plugin.method.synchronize;
      const response = await this.#client.call(ctx, method, { ...batch, more }, { timeoutMs });
      if (!more) return response.update;
      if (!response.more || response.update.length > 0) {
        throw new AppError(`NRI plugin ${this.title} cannot be synchronized in parts`, {
          kind: "failed-precondition",
        });
      }
    }
    return [];
  }

  async #call<Input extends DescMessage, Output extends DescMessage>(
    ctx: Context,
    method: DescMethodUnary<Input, Output>,
    input: MessageInitShape<Input>,
  ): Promise<MessageShape<Output> | undefined> {
    const options = { timeoutMs: this.#timeoutMs };
    const event = eventOf(method);
    if (!this.#old.has(event)) {
      try {
        return await this.#client.call(ctx, method, input, options);
      } catch (err) {
        const isUnknown = err instanceof RemoteError && err.kind === "unimplemented";
        if (!isUnknown || !isStateChange(event)) throw err;
        this.#old.add(event);
      }
    }
    const { pod, container } = input as unknown as nri.StateChangeEvent;
    const change = { event: events[event], pod, container };
    await this.#client.call(ctx, nri.Plugin.method.stateChange, change, options);
    return undefined;
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }
}

/** What a plugin says without a code of its own is no bug of ours. */
function refusal(step: string, cause: RemoteError): AppError {
  const kind = cause.kind === "internal" ? "failed-precondition" : cause.kind;
  return new AppError(step, { kind, cause });
}
