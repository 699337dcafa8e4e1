import type { Context } from "../../lib/context.ts";
import type { RegistryHost } from "../../registry/hosts/registry-host.ts";

const probeMs = 1000;
const freshMs = 30_000;

/**
 * Which of these hosts respond at all: asked together, and again after half a minute. A node that is switched off costs a
 * second then.
 */
export class LivingHosts {
  readonly #hosts: readonly RegistryHost[];
  #asked: { readonly atMs: number; readonly living: Promise<readonly RegistryHost[]> } | undefined;

  constructor(hosts: readonly RegistryHost[]) {
    this.#hosts = hosts;
  }

  async list(ctx: Context): Promise<readonly RegistryHost[]> {
    if (this.#asked === undefined || performance.now() - this.#asked.atMs > freshMs) {
      this.#asked = { atMs: performance.now(), living: this.#ask(ctx) };
    }
    return await this.#asked.living;
  }

  async #ask(ctx: Context): Promise<readonly RegistryHost[]> {
    const areAlive = await Promise.all(this.#hosts.map(isLiving));
    const living = this.#hosts.filter((_, i) => areAlive[i]);
    if (living.length < this.#hosts.length) {
      ctx.log.debug("peers unreachable", { living: living.length, of: this.#hosts.length });
    }
    return living;
  }
}

/** A host that responds at all is alive. Not the caller's signal: others wait for this too. */
async function isLiving({ base, ca }: RegistryHost): Promise<boolean> {
  try {
    const response = await fetch(`${base.href}/`, {
      signal: AbortSignal.timeout(probeMs),
      redirect: "manual",
      ...(ca.length === 0 ? {} : { tls: { ca: ca.map(({ pem }) => pem) } }),
    });
    await response.body?.cancel();
    return true;
  } catch {
    return false;
  }
}
