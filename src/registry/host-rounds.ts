import { backoff } from "../lib/backoff.ts";
import type { Context } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import type { HostClient } from "./host-client.ts";
import { RegistryError, StalledError } from "./registry-error.ts";

const rounds = 4;
const firstBackoffMs = 500;

interface Candidate {
  readonly client: HostClient;
  failures: number;
  /** It has said no, or something wrong: asking again is of no use. */
  isOut: boolean;
  failure: unknown;
}

/** One host's turn. */
export interface Turn {
  readonly client: HostClient;
  readonly round: number;
}

/**
 * Which host to ask next for one thing. All of them are asked in order before any is asked again, four rounds at most,
 * with growing pauses in between; what says no is not asked again, and one that stood still comes last from then on.
 */
export class HostRounds {
  readonly #candidates: Candidate[];
  readonly #nothing: string;

  constructor(clients: readonly HostClient[], purpose: string) {
    this.#candidates = clients
      .toSorted((a, b) => Number(a.hasStalled) - Number(b.hasStalled))
      .map((client) => ({ client, failures: 0, isOut: false, failure: undefined }));
    this.#nothing = `no host is configured to ${purpose}`;
  }

  /** The next host, when its time has come. Throws why the last of them failed when all have. */
  async next(ctx: Context): Promise<Turn> {
    const best = this.#best();
    if (best.failures > 0) {
      const atLeastMs =
        best.failure instanceof RegistryError ? best.failure.retryAfterMs : undefined;
      await backoff(best.failures, ctx.signal, { firstMs: firstBackoffMs, atLeastMs });
    }
    return { client: best.client, round: best.failures };
  }

  /** The host has given something worth having: what was before is forgiven. */
  succeeded(client: HostClient): void {
    const candidate = this.#candidates.find((one) => one.client === client);
    if (candidate !== undefined) candidate.failures = 0;
  }

  /** Turns of the same round that fail together, as they do when the link breaks, are one failure. */
  failed(ctx: Context, { client, round }: Turn, failure: unknown): void {
    const candidate = this.#candidates.find((one) => one.client === client);
    if (candidate === undefined) throw failure;
    ctx.log.debug("registry host failed", { host: client.host.base.host, err: describe(failure) });
    candidate.failure = failure;
    // Fewer than when the turn began: something has come since.
    const before = Math.min(candidate.failures, round);
    candidate.failures = Math.max(candidate.failures, before + 1);
    if (!(failure instanceof RegistryError && failure.isTransient)) candidate.isOut = true;
    if (!(failure instanceof StalledError)) return;
    client.hasStalled = true;
    this.#candidates.splice(this.#candidates.indexOf(candidate), 1);
    this.#candidates.push(candidate);
  }

  #best(): Candidate {
    const left = this.#candidates.filter((one) => !one.isOut && one.failures < rounds);
    const [best] = left.toSorted((a, b) => a.failures - b.failures);
    if (best !== undefined) return best;
    throw this.#failure();
  }

  /** Of the host that comes last: the registry itself, unless it has said that it does not know how. */
  #failure(): unknown {
    const failures = this.#candidates.map(({ failure }) => failure).filter(Boolean);
    return failures.at(-1) ?? new RegistryError(this.#nothing, 0);
  }
}
