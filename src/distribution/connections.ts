import type { Socket } from "node:net";

/** What is known of a connection; the address is asked for once, since a closed one has none. */
interface Connection {
  readonly address: string;
  calls: number;
}

/**
 * The connections of the server, at most `max` of them. A further one gets the place of the connection that has asked
 * nothing for the longest time; where all are being served, the place of the oldest of the address that has the most,
 * if that are more than the newcomer's address would have. So neither idle nor slow clients keep others out.
 */
export class ServerConnections {
  readonly #max: number;
  /** Those whose last call began or ended longest ago come first. */
  readonly #open = new Map<Socket, Connection>();

  constructor(max: number) {
    this.#max = max;
  }

  /** Closes the socket, or another one, where there is no room. */
  add(socket: Socket): void {
    const address = socket.remoteAddress ?? "";
    if (this.#open.size >= this.#max) {
      const displaced = this.#idle() ?? this.#oldestOfMost(address);
      if (displaced === undefined) return void socket.destroy();
      this.#open.delete(displaced);
      displaced.destroy();
    }
    this.#open.set(socket, { address, calls: 0 });
    socket.once("close", () => this.#open.delete(socket));
  }

  /** A call begins; dispose when it has been served. */
  begin(socket: Socket): Disposable {
    this.#change(socket, 1);
    return { [Symbol.dispose]: () => this.#change(socket, -1) };
  }

  #change(socket: Socket, calls: number): void {
    const connection = this.#open.get(socket);
    if (connection === undefined) return;
    connection.calls += calls;
    this.#open.delete(socket);
    this.#open.set(socket, connection);
  }

  #idle(): Socket | undefined {
    for (const [socket, { calls }] of this.#open) if (calls === 0) return socket;
    return undefined;
  }

  #oldestOfMost(newcomer: string): Socket | undefined {
    const counts = new Map<string, number>([[newcomer, 1]]);
    for (const { address } of this.#open.values()) {
      counts.set(address, (counts.get(address) ?? 0) + 1);
    }
    const own = counts.get(newcomer) ?? 1;
    const [most, count] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a));
    if (count <= own) return undefined;
    for (const [socket, { address }] of this.#open) if (address === most) return socket;
    return undefined;
  }
}
