import { lstatSync } from "node:fs";

export const socketLost = "socket lost";
const lookMs = 2_000;

/**
 * Watches that clients still find the socket at `path`. Where it has gone, or is another's, the state directory has most
 * likely been emptied or mounted over; nobody can reach this daemon any more, and a new one makes all of it again.
 */
export function watchSocket(
  path: string,
): Disposable & { readonly lost: Promise<typeof socketLost> } {
  const { promise: lost, resolve } = Promise.withResolvers<typeof socketLost>();
  const mine = inodeOf(path);
  const timer = setInterval(() => {
    if (inodeOf(path) !== mine) resolve(socketLost);
  }, lookMs);
  return { lost, [Symbol.dispose]: () => clearInterval(timer) };
}

function inodeOf(path: string): bigint | undefined {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
}
