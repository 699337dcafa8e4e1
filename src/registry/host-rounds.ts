import { backoff } from "../lib/backoff.ts";
import type { Context } from "../lib/context.ts";
import { AppError, describe, kindOf, reasonOf } from "../lib/errors.ts";
import type { HostClient } from "./host-client.ts";
import { RegistryError, StalledError } from "./registry-error.ts";

const usualRounds = 4;
const firstBackoffMs = 500;

interface Candidate {
  readonly client: HostClient;
  /** Its place in the configuration. */
  readonly place: number;
  failures: number;
  /** It has said no, or something wrong: asking again is useless. */
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
 * with growing pauses in between; what says no is not asked again, and one that stalled comes last from then on.
 */
export class HostRounds {
  readonly #candidates: Candidate[];
  readonly #nothing: string;
  readonly #rounds: number;

  constructor(
    clients: readonly HostClient[],
    purpose: string,
    { rounds = usualRounds }: { readonly rounds?: number } = {},
  ) {
    this.#rounds = rounds;
    this.#candidates = clients
      .map((client, place) => ({ client, place, failures: 0, isOut: false, failure: undefined }))
      .toSorted((a, b) => Number(a.client.hasStalled) - Number(b.client.hasStalled));
    this.#nothing = `no host is configured to ${purpose}`;
  }

  /** The next host, when its time has come. Throws why each of them failed when all have. */
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
    const left = this.#candidates.filter((one) => !one.isOut && one.failures < this.#rounds);
    const [best] = left.toSorted((a, b) => a.failures - b.failures);
    if (best !== undefined) return best;
    throw this.#failure();
  }

  #failure(): unknown {
    const failed = this.#candidates
      .filter(({ failure }) => failure !== undefined)
      .toSorted((a, b) => a.place - b.place);
    const [first, ...others] = failed;
    if (first === undefined) return new RegistryError(this.#nothing, 0);
    if (others.length === 0) return first.failure;
    const last = this.#candidates.length - 1;
    const deciding = failed.toSorted(
      (a, b) => weightOf(a, last) - weightOf(b, last) || b.place - a.place,
    )[0] as Candidate;
    const statements = [deciding, ...failed.filter((one) => one !== deciding)].map(statementOf);
    const reason = reasonOf(deciding.failure);
    return new AppError(statements.join("; "), {
      kind: kindOf(deciding.failure),
      ...(reason === undefined ? {} : { reason }),
    });
  }
}

/**
 * Whose failure decides what kind of failure it is when all hosts have failed, lowest first; of equals the one that comes
 * last. A host that responded knows more than one that could not be reached; the registry itself, which comes last, more than its
 * mirrors; and a mirror that refuses us more than one that has not got the image, since mirrors need not have all.
 */
function weightOf({ failure, place }: Candidate, last: number): number {
  if (failure instanceof RegistryError && failure.status === 0) return 3;
  if (place === last) return 0;
  return kindOf(failure) === "not-found" ? 2 : 1;
}

/** In one line, with the host's name. */
function statementOf({ client, failure }: Candidate): string {
  const { host } = client.host.base;
  const text = describe(failure);
  return text.includes(host) ? text : `${host}: ${text}`;
}
