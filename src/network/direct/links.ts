import type { Context } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";
import { ErrnoError } from "../../os/errno-error.ts";
import { CommandError, type OwnProgram } from "../../os/process/command.ts";
import type { Message } from "./netlink.ts";

/*
 * Steps for embed/pause/links.c: a list that it carries out one after the other and ends with the first that fails.
 */

export const host = 0;
export const pod = 1;
type Place = typeof host | typeof pod;

/** An interface that a step has looked up: later messages are given its index and MAC address. */
export type Slot = 0 | 1 | 2;

/** The descriptor of the node's network namespace in that program. */
export const hostNamespaceFd = 40;

export interface Link {
  readonly index: number;
  readonly mac: string;
}

const kinds = {
  enter: 0,
  send: 1,
  patch: 2,
  lookUp: 3,
  write: 4,
  waitUp: 5,
  settle: 6,
  unlessAddress: 7,
} as const;

const EEXIST = 17;
const ENODEV = 19;
/** Whatever a step fails with is fine. */
const anyError = 0xffff;
const tolerations = { none: 0, EEXIST, ENODEV, any: anyError } as const;
type Tolerated = keyof typeof tolerations;

/** What its messages are about: interfaces by slot. */
interface Subjects {
  readonly index?: Slot;
  readonly master?: Slot;
  readonly mac?: Slot;
}

export class LinkSteps {
  readonly #parts: Buffer[] = [];
  readonly #names: { readonly end: number; readonly name: string }[] = [];
  #size = 0;

  /** The network namespace that what follows is in; `path` for the pod's first time. */
  enter(place: Place, path = ""): this {
    return this.#add("enter", place, 0, "none", text(path), `enter ${path}`);
  }

  send(
    place: Place,
    name: string,
    { bytes, holes }: Message,
    subjects: Subjects = {},
    tolerated: Tolerated = "none",
  ): this {
    for (const part of ["index", "master", "mac"] as const) {
      const offset = holes[part];
      if (offset === undefined) continue;
      const slot = subjects[part];
      if (slot === undefined) throw new TypeError(`${name}: no interface for ${part}`);
      const at = Buffer.alloc(4);
      at.writeUInt32LE(offset);
      this.#add("patch", part === "mac" ? 1 : 0, slot, "none", at, name);
    }
    return this.#add("send", place, 0, tolerated, bytes, name);
  }

  lookUp(place: Place, slot: Slot, name: string, { bytes }: Message): this {
    return this.#add("lookUp", place, slot, "none", bytes, name);
  }

  /** In the namespace that was entered last; a value that is there is not written again. */
  write(path: string, value: string, tolerated: Tolerated = "none"): this {
    return this.#add("write", 0, 0, tolerated, text(path, value), `write ${path}`);
  }

  /** Until the interface is operational: its carrier comes a moment after both ends are up. */
  waitUp(place: Place, slot: Slot, name: string, { bytes }: Message): this {
    return this.#add("waitUp", place, slot, "none", bytes, name);
  }

  /** Until no address of the interface is being checked for duplicates. */
  settle(place: Place, slot: Slot, family: number): this {
    const payload = Buffer.alloc(24);
    payload.writeUInt8(family, 0);
    return this.#add("settle", place, slot, "none", payload, "addresses settle");
  }

  /** Carries `then` out unless the interface has that address; fails where it has another one instead. */
  unlessAddress(
    place: Place,
    slot: Slot,
    address: { readonly family: number; readonly prefix: number; readonly bytes: Uint8Array },
    then: LinkSteps,
  ): this {
    const payload = Buffer.alloc(24);
    payload.writeUInt8(address.family, 0);
    payload.writeUInt8(address.prefix, 1);
    payload.set(address.bytes, 4);
    payload.writeUInt32LE(then.#size, 20);
    this.#add("unlessAddress", place, slot, "none", payload, "address of the bridge");
    for (const { end, name } of then.#names) this.#names.push({ end: this.#size + end, name });
    this.#parts.push(...then.#parts);
    this.#size += then.#size;
    return this;
  }

  bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }

  /** What was to be done at that offset. */
  nameAt(offset: number): string {
    return this.#names.find(({ end }) => offset < end)?.name ?? "start";
  }

  #add(
    kind: keyof typeof kinds,
    place: number,
    slot: number,
    tolerated: Tolerated,
    payload: Buffer,
    name: string,
  ): this {
    const head = Buffer.alloc(12);
    head.writeUInt16LE(kinds[kind], 0);
    head.writeUInt16LE(place, 2);
    head.writeUInt16LE(slot, 4);
    head.writeUInt16LE(tolerations[tolerated], 6);
    head.writeUInt32LE(payload.byteLength, 8);
    const part = Buffer.concat([head, payload, Buffer.alloc(-payload.byteLength & 3)]);
    this.#parts.push(part);
    this.#size += part.byteLength;
    this.#names.push({ end: this.#size, name });
    return this;
  }
}

function text(...values: readonly string[]): Buffer {
  return Buffer.from(values.map((value) => `${value}\0`).join(""));
}

const timeoutMs = 60_000;
const linkSize = 16;

/** Carries the steps out and returns what was looked up, by slot. Throws `unavailable` with the step that failed. */
export async function runLinkSteps(
  ctx: Context,
  { path, run }: OwnProgram,
  steps: LinkSteps,
  env: Readonly<Record<string, string>>,
): Promise<(slot: Slot) => Link> {
  const { exitCode, stdout, stderr } = await run(ctx, [path], {
    env,
    stdin: steps.bytes(),
    timeoutMs,
    endsWithUs: true,
  });
  if (exitCode === 0) {
    return (slot) => ({
      index: stdout.readUInt32LE(slot * linkSize),
      mac: [...stdout.subarray(slot * linkSize + 8, slot * linkSize + 14)]
        .map((byte) => byte.toString(16).padStart(2, "0"))
        .join(":"),
    });
  }
  const [, before, code] = /^(\d+) (\d+)$/.exec(stdout.toString()) ?? [];
  const name = steps.nameAt(Number(before));
  throw new AppError(`network interfaces: ${name}`, {
    kind: "unavailable",
    cause:
      code === undefined
        ? new CommandError([path], exitCode, stderr)
        : new ErrnoError(name, Number(code)),
  });
}
