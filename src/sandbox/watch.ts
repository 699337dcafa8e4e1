import { type Context, detached } from "../lib/context.ts";
import { describe } from "../lib/errors.ts";
import type { SandboxDeps } from "./deps.ts";
import type { EnvironmentDeps } from "./environment/environment.ts";
import { missingPart } from "./environment/presence.ts";
import type { Sandbox } from "./sandbox.ts";

/** A kubelet asks for the list once a second. */
const listAgeMs = 1_000;
/** For those who wait for events and do not ask. */
const idleMs = 10_000;

type Deps = EnvironmentDeps & Pick<SandboxDeps, "events" | "plugins">;

/**
 * Keeps READY true while the daemon runs: a sandbox that has lost its namespaces or what its containers share is not ready
 * from the moment that somebody asks for it, so that a kubelet makes a new one.
 */
export class SandboxWatch implements Disposable {
  readonly #ctx: Context;
  readonly #deps: Deps;
  readonly #timer: ReturnType<typeof setInterval>;
  #listedAt = Number.NEGATIVE_INFINITY;

  constructor(ctx: Context, deps: Deps) {
    this.#ctx = ctx;
    this.#deps = deps;
    this.#timer = setInterval(() => this.checkAll(), idleMs);
    this.#timer.unref();
  }

  /** Looks at all of them, unless it has a moment ago. */
  checkAll(): void {
    const now = performance.now();
    if (now - this.#listedAt < listAgeMs) return;
    this.#listedAt = now;
    for (const sandbox of this.#deps.sandboxes.list()) this.check(sandbox);
  }

  /** The sandbox as it is now. */
  check(sandbox: Sandbox): Sandbox {
    if (sandbox.state !== "ready" || this.#deps.stopping.has(sandbox.id)) return sandbox;
    const missing = missingPart(this.#deps, sandbox);
    if (missing === undefined) return sandbox;
    const log = this.#ctx.log.with({ sandbox: sandbox.id });
    log.warn("sandbox lost", { missing });
    const lost: Sandbox = { ...sandbox, state: "not-ready" };
    this.#deps.sandboxes.put(lost);
    this.#deps.events.publish({ type: "stopped", sandbox: lost });
    this.#deps.plugins
      .stopSandbox(detached(this.#ctx), lost)
      .catch((err) =>
        log.warn("NRI notification of a lost sandbox failed", { err: describe(err) }),
      );
    return lost;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
