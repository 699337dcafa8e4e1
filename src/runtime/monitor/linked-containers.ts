import type { ExitRecord } from "./exit-record.ts";
import { type EndReaper, HeldContainer } from "./held-container.ts";
import type { MonitorClient } from "./monitor-client.ts";
import type { ListedContainer } from "./monitor-responses.ts";

interface LinkedContainer {
  readonly held: HeldContainer | undefined;
  readonly exited: ExitRecord | undefined;
}

/** The containers of one monitor: how they ended, and what is held of those that live, for the monitor's successor. */
export class LinkedContainers implements Disposable {
  readonly #containers = new Map<string, LinkedContainer>();
  readonly #reaper: EndReaper;

  constructor(reaper: EndReaper) {
    this.#reaper = reaper;
  }

  get size(): number {
    return this.#containers.size;
  }

  has(id: string): boolean {
    return this.#containers.has(id);
  }

  /** With the end of those that have ended. */
  list(): readonly (readonly [id: string, exited: ExitRecord | undefined])[] {
    return [...this.#containers].map(([id, { exited }]) => [id, exited]);
  }

  /** Counts as running from now on, and nothing is held of it. */
  add(id: string): void {
    this.#containers.set(id, { held: undefined, exited: undefined });
  }

  /** Holds what the monitor has open of a container that lives, unless that is held already. */
  hold(listed: ListedContainer, monitorPid: number): void {
    const { container: id, dir, exited } = listed;
    if (this.#containers.get(id)?.held !== undefined) return;
    const held =
      exited === undefined ? new HeldContainer(listed, dir, monitorPid, this.#reaper) : undefined;
    this.#containers.set(id, { held, exited });
  }

  /** It has ended: nothing of it is held any more. */
  end(id: string, exited: ExitRecord): void {
    this.#containers.get(id)?.held?.[Symbol.dispose]();
    this.#containers.set(id, { held: undefined, exited });
  }

  forget(id: string): void {
    this.#containers.get(id)?.held?.[Symbol.dispose]();
    this.#containers.delete(id);
  }

  closeStdin(id: string): void {
    this.#containers.get(id)?.held?.closeStdin();
  }

  /**
   * Gives a successor what died with its predecessor, and reports to it the end of a process that became our child, unless
   * it is not the monitor any more by then. For a monitor that never was replaced there is nothing to do: its containers
   * are its own children.
   */
  async handOver(
    listed: ListedContainer,
    client: Pick<MonitorClient, "request">,
    isCurrent: () => boolean,
  ): Promise<void> {
    const { container } = listed;
    const held = this.#containers.get(container)?.held;
    for (const kind of ["terminal", "stdin"] as const) {
      const kept = held?.[kind];
      if (kept === undefined || listed[`${kind}Fd`] !== undefined) continue;
      const { pid } = process;
      await client.request({ op: "takeDescriptor", container, kind, pid, fd: kept.fd });
    }
    if (!listed.isAdopted || listed.pid === 0) return; // 0: another process's, which reports its end
    const end = await held?.ended();
    if (end === "released" || !isCurrent()) return;
    await client.request({ op: "exitedElsewhere", container, status: end });
  }

  [Symbol.dispose](): void {
    for (const { held } of this.#containers.values()) held?.[Symbol.dispose]();
  }
}
