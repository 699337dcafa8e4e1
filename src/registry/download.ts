import type { Context } from "../lib/context.ts";
import { kindOf } from "../lib/errors.ts";
import { inStep } from "../lib/step.ts";
import type { ByteRange, Descriptor } from "../oci/descriptor.ts";
import type { Bandwidth } from "./bandwidth.ts";
import { openRange } from "./blob-range.ts";
import type { HostClient } from "./host-client.ts";
import { HostRounds } from "./host-rounds.ts";

/** Where the bytes of a blob go. */
export interface BlobSink {
  /** What is missing, lowest first. */
  gaps(): readonly ByteRange[];
  /** A place for the bytes from `start` on, which are missing. Disposed when no more come. */
  openPart(start: number): Promise<BlobPart>;
}

export interface BlobPart extends AsyncDisposable {
  /** Where the next byte goes. */
  readonly end: number;
  write(chunk: Uint8Array): Promise<void>;
}

/** What all downloads of a daemon share, so that any number of pulls takes no more than this. */
export interface TransferBudget {
  readonly bandwidth: Bandwidth;
  readonly connections: ConnectionBudget;
  /** A transfer in which nothing comes for this long is given up. */
  readonly stallMs: number;
}

/** Each connection that blobs come over may hold some hundred KiB. */
export interface ConnectionBudget {
  /** The one that every download needs. Registries do not wait for each other: one that stalls holds up its own only. */
  enter(registry: string, signal: AbortSignal): Promise<Disposable>;
  /** One more that makes a large blob come sooner, if one is free right now. */
  tryEnterExtra(): Disposable | undefined;
  /** Whether extra ones are to be given back, for others to have their share. */
  readonly isCrowded: boolean;
  /** How many wait for the one that they need. */
  readonly waiting: number;
}

export interface DownloadOptions extends TransferBudget {
  /** As the image names it. */
  readonly registry: string;
  /** Other nodes of the site, and no registry. */
  readonly isPeer: boolean;
  /** Called for each host that a byte came from. */
  readonly onSource: (client: HostClient) => void;
}

/** From this size on a blob comes over several connections at once. */
const parallelFromBytes = 64 << 20;
/** Small enough that who reads from the beginning never waits long for the next one. */
const stripeBytes = 16 << 20;
const maxConnectionsPerBlob = 4;
/** So much from a host, and its earlier failures are forgiven. */
const worthwhileBytes = 16 << 10;

/**
 * Fetches what `sink` lacks of a blob from the hosts that have it. Broken connections are taken up where they stopped, on
 * the same host or the next. Whether the bytes are right is for the reader to verify.
 */
export async function downloadBlob(
  ctx: Context,
  clients: readonly HostClient[],
  blob: Descriptor,
  sink: BlobSink,
  options: DownloadOptions,
): Promise<void> {
  await new Download(ctx, clients, blob, sink, options).run();
}

class Download {
  readonly #ctx: Context;
  readonly #blob: Descriptor;
  readonly #sink: BlobSink;
  readonly #options: DownloadOptions;
  readonly #hosts: HostRounds;
  readonly #failed = new AbortController();
  readonly #helpers = new Set<Promise<void>>();
  readonly #pending: ByteRange[];
  #failure: { readonly cause: unknown } | undefined;

  constructor(
    ctx: Context,
    clients: readonly HostClient[],
    blob: Descriptor,
    sink: BlobSink,
    options: DownloadOptions,
  ) {
    this.#ctx = { ...ctx, signal: AbortSignal.any([ctx.signal, this.#failed.signal]) };
    this.#blob = blob;
    this.#sink = sink;
    this.#options = options;
    this.#hosts = new HostRounds(clients, "pull");
    this.#pending = stripes(sink.gaps());
  }

  async run(): Promise<void> {
    {
      const { connections, registry } = this.#options;
      using _connection = await connections.enter(registry, this.#ctx.signal);
      await this.#work(() => true);
    }
    await Promise.all(this.#helpers);
    if (this.#failure !== undefined) throw this.#failure.cause;
  }

  /** Fetches one missing range after the other, as long as it may, until there are none or one cannot be had. */
  async #work(may: () => boolean): Promise<void> {
    try {
      while (may()) {
        const range = this.#pending.shift();
        if (range === undefined) return;
        await this.#fetch(range);
      }
    } catch (cause) {
      this.#failure ??= { cause };
      this.#failed.abort(cause);
    }
  }

  /** Fetches all of the range, from whichever hosts it takes. */
  async #fetch(range: ByteRange): Promise<void> {
    for (let { start, end } = range; start < end; ) {
      const turn = await this.#hosts.next(this.#ctx);
      const { client } = turn;
      const from = start;
      const transfer = async () => {
        const response = await openRange(
          this.#ctx,
          client,
          this.#blob,
          { start, end },
          this.#options.stallMs,
        );
        if (response.isPartial) this.#callHelpers();
        // It sends the rest anyway: nobody else needs to ask for that.
        else end = this.#takeUpTo(end);
        await using part = await this.#sink.openPart(start);
        for await (const chunk of response.bytes) {
          const wanted = chunk.subarray(0, end - start);
          await part.write(wanted);
          start = part.end;
          if (start - from >= worthwhileBytes) this.#hosts.succeeded(client);
          this.#options.onSource(client);
          if (start === end) break;
          await this.#options.bandwidth.take(wanted.byteLength, this.#ctx.signal);
        }
      };
      try {
        const { host } = client.host.base;
        await inStep(this.#ctx, "image.blob", transfer, { host, digest: this.#blob.digest });
      } catch (err) {
        this.#ctx.signal.throwIfAborted();
        // The disk is full, whoever sends.
        if (kindOf(err) === "resource-exhausted") throw err;
        this.#hosts.failed(this.#ctx, turn, err);
      } finally {
        this.#ctx.count?.("image.pulled_bytes", start - from, this.#sourceOf(client));
      }
    }
  }

  #sourceOf({ host }: HostClient): string {
    if (this.#options.isPeer) return "peer";
    return host.isMirror ? "mirror" : "registry";
  }

  /** The end of the run of missing bytes of which all after `end` is still to be fetched; now the caller does it. */
  #takeUpTo(end: number): number {
    let upTo = end;
    while (this.#pending[0]?.start === upTo) upTo = this.#pending.shift()?.end ?? upTo;
    return upTo;
  }

  #callHelpers(): void {
    while (this.#pending.length > this.#helpers.size) {
      if (this.#helpers.size === maxConnectionsPerBlob - 1) return;
      const connection = this.#options.connections.tryEnterExtra();
      if (connection === undefined) return;
      const helper = this.#help(connection).finally(() => this.#helpers.delete(helper));
      this.#helpers.add(helper);
    }
  }

  async #help(connection: Disposable): Promise<void> {
    using _connection = connection;
    await this.#work(() => !this.#options.connections.isCrowded);
  }
}

/** Large gaps in pieces that begin at multiples of the stripe. */
function stripes(gaps: readonly ByteRange[]): ByteRange[] {
  const missing = gaps.reduce((sum, { start, end }) => sum + end - start, 0);
  if (missing < parallelFromBytes) return [...gaps];
  return gaps.flatMap(({ start, end }) => {
    const pieces: ByteRange[] = [];
    for (let at = start; at < end; ) {
      const next = Math.min(end, (Math.floor(at / stripeBytes) + 1) * stripeBytes);
      pieces.push({ start: at, end: next });
      at = next;
    }
    return pieces;
  });
}
