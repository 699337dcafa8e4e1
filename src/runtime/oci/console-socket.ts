import { rmSync } from "node:fs";
import { AppError } from "../../lib/errors.ts";
import { setNonblocking } from "../../os/file/io.ts";
import type { OwnedFd } from "../../os/file/owned-fd.ts";
import { acceptUnix, listenUnix, receiveDescriptor } from "../../os/socket/unix-socket.ts";

/** Where the OCI runtime sends the master of a pty (`--console-socket`). Paths have at most 107 bytes. */
export class ConsoleSocket implements Disposable {
  readonly #path: string;
  readonly #listener: OwnedFd;

  constructor(path: string) {
    this.#path = path;
    rmSync(path, { force: true });
    this.#listener = listenUnix(path);
  }

  /** The pty, once the runtime's `create` or `exec` has succeeded: it has been sent by then. It does not block. */
  receive(): OwnedFd {
    using connection = acceptUnix(this.#listener.fd);
    const terminal = connection === undefined ? undefined : receiveDescriptor(connection.fd);
    if (terminal === undefined || terminal === "none") {
      throw new AppError("the runtime sent no terminal", { kind: "internal" });
    }
    setNonblocking(terminal.fd);
    return terminal;
  }

  [Symbol.dispose](): void {
    this.#listener[Symbol.dispose]();
    rmSync(this.#path, { force: true });
  }
}
