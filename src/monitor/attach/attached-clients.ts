import { EPOLLIN } from "../../os/epoll.ts";
import type { Loop } from "../loop.ts";
import type { PumpedOutput } from "../stdio/pump.ts";
import type { AttachedClient } from "./attached-client.ts";

/** How long the output waits for a daemon that does not keep up, before it is left behind: it may get no turn for a while. */
const graceMs = 3000;

/**
 * Who is attached to a container. The daemon takes output as fast as it can and keeps what is for slow clients, so one
 * that is behind is busy for a moment, or stuck: the container waits for it that moment, and no longer.
 */
export class AttachedClients implements Disposable {
  readonly #loop: Loop;
  readonly #outputs: ReadonlySet<PumpedOutput>;
  readonly #attachments = new Set<AttachedClient>();
  #deadline: Disposable | undefined;

  /** `outputs` are the container's, watched by the pump. */
  constructor(loop: Loop, outputs: ReadonlySet<PumpedOutput>) {
    this.#loop = loop;
    this.#outputs = outputs;
  }

  get size(): number {
    return this.#attachments.size;
  }

  add(attachment: AttachedClient): void {
    this.#attachments.add(attachment);
  }

  delete(attachment: AttachedClient): void {
    this.#attachments.delete(attachment);
    this.caughtUp();
  }

  output(stream: "stdout" | "stderr", data: Buffer, from: number, to: number): void {
    for (const attachment of this.#attachments) attachment.output(stream, data, from, to);
    if (this.#deadline !== undefined || !this.#isAnyBehind()) return;
    this.#listen(0);
    this.#deadline = this.#loop.after(graceMs, () => {
      for (const one of this.#attachments) if (one.isBehind) one[Symbol.dispose]();
      this.caughtUp();
    });
  }

  /** One of them may have. */
  caughtUp(): void {
    if (this.#deadline === undefined || this.#isAnyBehind()) return;
    this.#deadline[Symbol.dispose]();
    this.#deadline = undefined;
    this.#listen(EPOLLIN);
  }

  /** The container has ended, its output is complete. */
  finish(): void {
    for (const attachment of this.#attachments) attachment.finish();
  }

  #isAnyBehind(): boolean {
    for (const { isBehind } of this.#attachments) if (isBehind) return true;
    return false;
  }

  #listen(events: number): void {
    for (const { source } of this.#outputs) this.#loop.change(source.fd, events);
  }

  [Symbol.dispose](): void {
    for (const attachment of this.#attachments) attachment[Symbol.dispose]();
  }
}
