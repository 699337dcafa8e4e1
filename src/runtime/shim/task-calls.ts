import {
  create,
  type DescMessage,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { type Any, AnySchema } from "@bufbuild/protobuf/wkt";
import type { Context } from "../../lib/context.ts";
import { stringifyExact } from "../../lib/json.ts";

/** The calls of one task's shim, over whichever connection leads to it now. `unavailable` where the shim has died. */
export interface TaskCalls {
  readonly id: string;
  readonly bundleDir: string;
  /** Processes of the task are processes of the node, under the pids that the shim reports. */
  readonly hasNodePids: boolean;
  call<Input extends DescMessage, Output extends DescMessage>(
    ctx: Context,
    method: DescMethodUnary<Input, Output>,
    input: MessageInitShape<Input>,
    options?: { readonly timeoutMs: number | undefined },
  ): Promise<MessageShape<Output>>;
}

export type SpecType = "Process" | "LinuxResources";

/** A part of the runtime-spec as shims take it: JSON, under the name that Go's types have there. */
export function specAny(type: SpecType, value: object): Any {
  return create(AnySchema, {
    typeUrl: `types.containerd.io/opencontainers/runtime-spec/1/${type}`,
    value: Buffer.from(stringifyExact(value)),
  });
}
