import { openSync, readSync, writeFileSync, writeSync } from "node:fs";
import { AppError } from "../lib/errors.ts";
import type { IdRange, PodIds } from "../oci/pod-ids.ts";
import { errno } from "../os/errno-error.ts";
import { openPipe } from "../os/io.ts";
import { enterNamespace } from "../os/namespaces.ts";
import { OwnedFd } from "../os/owned-fd.ts";
import { reap } from "../os/pidfd.ts";
import { spawnProcess } from "../os/spawn.ts";

/** A process that keeps new namespaces alive until it is disposed of. */
export interface NamespaceHolder extends Disposable {
  readonly pid: number;
}

export interface UserNamespaceRequest {
  /** The static program that makes it: this one has threads, and the kernel refuses it to such. */
  readonly program: string;
  readonly ids: PodIds;
}

/**
 * Makes a user namespace with these ids, and other namespaces that belong to it. For the role `namespaces`, which has
 * no event loop. `flags` are CLONE_NEW* of the others.
 */
export function makeUserNamespace(request: UserNamespaceRequest, flags: number): NamespaceHolder {
  using theirs = new DisposableStack();
  const toHolder = openPipe();
  const fromHolder = openPipe();
  for (const end of [toHolder.readEnd, fromHolder.writeEnd]) theirs.use(end);
  using ours = new DisposableStack();
  const answers = ours.use(fromHolder.readEnd);
  const orders = ours.use(toHolder.writeEnd);
  const pid = spawnProcess({
    argv: [request.program],
    env: [],
    cwd: "/",
    stdio: [toHolder.readEnd.fd, fromHolder.writeEnd.fd, 2],
  });
  theirs.dispose();
  using holder = new DisposableStack();
  holder.defer(() => reapSoon(pid));
  holder.use(ours.move());
  send(orders, flags);
  receive(answers, "make a user namespace");
  writeFileSync(`/proc/${pid}/uid_map`, mapLine(request.ids.uids), { flag: "r+" });
  writeFileSync(`/proc/${pid}/gid_map`, mapLine(request.ids.gids), { flag: "r+" });
  send(orders, 0);
  receive(answers, "make the namespaces of a user namespace");
  const kept = holder.move();
  return { pid, [Symbol.dispose]: () => kept.dispose() };
}

/** The calling thread enters a namespace of the holder's; its user namespace it stays out of. */
export function enterNamespaceOf(holder: NamespaceHolder, kind: string, flag: number): void {
  using namespace = new OwnedFd(openSync(`/proc/${holder.pid}/ns/${kind}`, "r"));
  enterNamespace(namespace.fd, flag);
}

function mapLine({ hostId, length }: IdRange): string {
  return `0 ${hostId} ${length}\n`;
}

function send(pipe: OwnedFd, value: number): void {
  writeSync(pipe.fd, new Uint8Array(new Int32Array([value]).buffer));
}

function receive(pipe: OwnedFd, step: string): void {
  const value = new Int32Array(1);
  if (readSync(pipe.fd, new Uint8Array(value.buffer)) !== value.byteLength) {
    throw new AppError(`${step}: the helper ended`, { kind: "internal" });
  }
  const [code = 0] = value;
  if (code === 0) return;
  const name = Object.entries(errno).find(([, number]) => number === code)?.[0] ?? `errno ${code}`;
  // ENOSPC and EUSERS: user.max_user_namespaces; EPERM: some other rule of the node.
  throw new AppError(`${step}: ${name}`, { kind: "failed-precondition" });
}

/** It ends as soon as its stdin has. */
function reapSoon(pid: number): void {
  while (reap({ pid }) === undefined) Bun.sleepSync(0.1);
}
