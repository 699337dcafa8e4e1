import type { ByteSource } from "../lib/byte-reader.ts";
import type { Context } from "../lib/context.ts";
import type { ContainerId, SandboxId } from "../lib/id.ts";
import type { ByteChannel } from "../spdy/byte-channel.ts";
import type { WantedStreams } from "./client-streams.ts";
import type { TerminalSize } from "./terminal-size.ts";

/** What a client may do with its URL. */
export type StreamRequest =
  | (WantedStreams & {
      readonly kind: "exec";
      readonly container: ContainerId;
      readonly argv: readonly string[];
    })
  | (WantedStreams & { readonly kind: "attach"; readonly container: ContainerId })
  | { readonly kind: "portforward"; readonly sandbox: SandboxId };

/** A process that somebody talks to: a command in a container, or the container's own program. Disposing it hangs up. */
export interface TalkingProcess extends AsyncDisposable {
  /** Resolves when it is taken. Throws when nobody reads it any more, and the signal's reason. */
  writeStdin(bytes: Uint8Array, signal: AbortSignal): Promise<void>;
  endStdin(): void;
  readonly stdout: ByteSource | undefined;
  readonly stderr: ByteSource | undefined;
  resize(size: TerminalSize): Promise<void>;
  /** Its exit code, where that is the client's to know. */
  readonly ended: Promise<number | undefined>;
}

/** Connections into one pod. */
export interface PodPorts extends Disposable {
  connect(ctx: Context, port: number): Promise<ByteChannel & Disposable>;
}

/** What the streaming server needs; daemon/serve.ts binds these to the operations. */
export interface StreamingDeps {
  exec(
    ctx: Context,
    id: ContainerId,
    options: WantedStreams & {
      readonly argv: readonly string[];
      readonly size: TerminalSize | undefined;
    },
  ): Promise<TalkingProcess>;
  attach(ctx: Context, id: ContainerId, wanted: WantedStreams): Promise<TalkingProcess>;
  /** Throws when the sandbox has gone or is not ready. */
  ports(ctx: Context, id: SandboxId): PodPorts;
}
