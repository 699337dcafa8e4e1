import { expect, test } from "bun:test";
import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { ServerConnections } from "./connections.ts";

class FakeSocket extends EventEmitter {
  isDestroyed = false;
  readonly remoteAddress: string;

  constructor(remoteAddress: string) {
    super();
    this.remoteAddress = remoteAddress;
  }
  destroy(): void {
    this.isDestroyed = true;
    this.emit("close");
  }
}

function open(connections: ServerConnections, address: string) {
  const fake = new FakeSocket(address);
  const socket = fake as unknown as Socket;
  connections.add(socket);
  return { fake, socket };
}

test("Connections.add() closes what has asked nothing for the longest time, not what is being served", () => {
  const connections = new ServerConnections(3);
  const [busy, first, second] = ["a", "b", "c"].map((address) => open(connections, address));
  if (busy === undefined || first === undefined || second === undefined) throw new Error();
  const call = connections.begin(busy.socket);
  connections.begin(first.socket)[Symbol.dispose](); // later than the second's arrival
  open(connections, "d");
  expect([busy, first, second].map(({ fake }) => fake.isDestroyed)).toEqual([false, false, true]);
  call[Symbol.dispose]();
});

test("Connections.add() gives a place of the address that has most, while all are being served", () => {
  const connections = new ServerConnections(4);
  const slow = Array.from({ length: 3 }, () => open(connections, "slow"));
  const other = open(connections, "other");
  for (const { socket } of [...slow, other]) connections.begin(socket);
  const newcomer = open(connections, "new");
  connections.begin(newcomer.socket);
  expect(slow.map(({ fake }) => fake.isDestroyed)).toEqual([true, false, false]);
  // One more of the same address, and one of another: nobody has more than they would.
  expect(open(connections, "slow").fake.isDestroyed).toBe(true);
  expect([newcomer, other].map(({ fake }) => fake.isDestroyed)).toEqual([false, false]);
});
