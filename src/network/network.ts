import type { Context } from "../lib/context.ts";
import type { SandboxId } from "../lib/id.ts";
import type { Attachment } from "./cni/attachment.ts";

export interface NetworkResult {
  /** At least one; the first is the pod's primary address. */
  readonly ips: readonly string[];
  /** The interface inside the pod. */
  readonly interfaceName: string;
  /** Name of the network that it is attached to. */
  readonly network: string;
}

export interface NetworkStatus {
  readonly ready: boolean;
  /** One word for machines, empty when ready. */
  readonly reason: string;
  readonly message: string;
}

/** Connects pods. A caller runs at most one operation for a sandbox at a time. */
export interface Network {
  /**
   * Throws `invalid-argument` for what no network can be asked, and `failed-precondition` for what this one does not
   * have. To be called before anything is made for the pod: what is recorded is not judged again.
   */
  validate(attachment: Attachment): void;
  /** All or nothing. An attachment left behind by an earlier attempt for this sandbox is taken down first. */
  attach(ctx: Context, attachment: Attachment): Promise<NetworkResult>;
  /**
   * Idempotent. Needs nothing of `attachment` but the id, and whether there still is a namespace; never fails for what
   * the pod once asked for.
   */
  detach(ctx: Context, attachment: Attachment): Promise<void>;
  /** Throws when the pod's network is no longer what it was made. */
  check(ctx: Context, attachment: Pick<Attachment, "sandboxId">): Promise<void>;
  status(ctx: Context): Promise<NetworkStatus>;
  /** Takes down every attachment but those of `keep`, also what plugins hold without our knowing. */
  gc(ctx: Context, keep: readonly SandboxId[]): Promise<void>;
  /** For the embedded network; kept over restarts. Empty: its own choice. */
  setPodCidr(podCidr: string): void;
}
