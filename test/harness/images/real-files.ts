/** What the generated ones of real images hold. The same files in every run, on every machine, as far as that decides anything. */

import {
  chmodSync,
  closeSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { run } from "../../parts/run.ts";

const gigabyte = 1 << 30;

/** A gigabyte that compresses like programs do: files of all sizes, the largest over 100 MB, one with a hole. */
export async function writeGigabyte(dir: string): Promise<void> {
  const chance = new Chance(1);
  const pool = makePool(chance);
  let left = gigabyte;
  for (let n = 0; left > 0; n++) {
    const group = join(dir, `usr/lib/group${n % 7}`);
    mkdirSync(group, { recursive: true });
    const size =
      n === 0 ? 120 << 20 : Math.min(left, Math.floor(500 + (12 << 20) * chance.next() ** 4));
    const file = join(group, `part${n}.so`);
    writeVaried(file, size, pool, chance);
    dress(file, n);
    left -= size;
  }
  const hole = openSync(join(dir, "hole"), "w");
  writeSync(hole, "begin", 0);
  writeSync(hole, "end", 40 << 20);
  closeSync(hole);
  await addOddities(dir);
}

/** Directories of a hundred files, a few KB each and many of them empty, some links among them, as package managers leave them. */
export async function writeManyFiles(dir: string, count: number): Promise<void> {
  const chance = new Chance(2);
  const pool = makePool(chance);
  for (let n = 0; n < count; n++) {
    const parent = join(dir, `p${Math.floor(n / 1000)}/m${Math.floor((n % 1000) / 100)}`);
    if (n % 100 === 0) mkdirSync(parent, { recursive: true });
    const file = join(parent, `file-${n}.js`);
    if (n % 50 === 1) linkSync(join(parent, `file-${n - 1}.js`), file);
    else if (n % 50 === 2) symlinkSync(`file-${n - 2}.js`, file);
    else {
      const size = Math.floor(9000 * chance.next() ** 3);
      const from = Math.floor(chance.next() * (pool.length - size));
      writeFileSync(file, pool.subarray(from, from + size));
      if (n % 10 === 0) dress(file, n);
    }
  }
  await addOddities(dir);
}

/** What one line of a long Dockerfile does below a directory that all lines share. */
export async function writeStep(dir: string, i: number): Promise<void> {
  const shared = join(dir, "shared");
  const own = join(dir, `step${i}`);
  for (const made of [shared, own]) mkdirSync(made, { recursive: true });
  writeFileSync(join(shared, "current"), `step ${i}\n`);
  writeFileSync(join(shared, `of-${i}`), `${i}`.repeat(i));
  writeFileSync(join(own, "one"), "x".repeat(i * 31));
  linkSync(join(own, "one"), join(own, "two"));
  symlinkSync(`../step${i - 1}/one`, join(own, "before"));
  // One name is a directory, a file and a link in turn.
  const kind = join(shared, "kind");
  if (i % 3 === 0) writeFileSync(kind, `file of ${i}`);
  else if (i % 3 === 1) symlinkSync("current", kind);
  else {
    mkdirSync(kind);
    writeFileSync(join(kind, `in-${i}`), "");
  }
  for (const path of [join(shared, "current"), join(own, "one"), shared]) dress(path, i);
}

/** Owner, mode and time by a number. */
function dress(path: string, n: number): void {
  const modes = [0o644, 0o755, 0o600, 0o4755, 0o2750, 0o444, 0o1777];
  lchownSync(path, (n * 7) % 70_000, (n * 13) % 70_000);
  chmodSync(path, modes[n % modes.length] ?? 0o644);
  lutimesSync(path, 1_000_000_000 + n, 1_000_000_000 + n);
}

/** Kinds of files, attributes and names of which there is one each. */
async function addOddities(dir: string): Promise<void> {
  const odd = join(dir, "odd");
  mkdirSync(odd);
  const at = (name: string): string => join(odd, name);
  await run(["mknod", at("fifo"), "p"]);
  await run(["mknod", at("null"), "c", "1", "3"]);
  await run(["mknod", at("loop"), "b", "7", "0"]);
  writeFileSync(at("attributes"), "x");
  await run(["setfattr", "-n", "user.crib", "-v", "0x00ff0a", at("attributes")]);
  await run(["setcap", "cap_net_raw+ep", at("attributes")]);
  writeFileSync(Buffer.concat([Buffer.from(`${odd}/`), Buffer.from([0xff, 0xfe, 0x41])]), "bytes");
  writeFileSync(at(" grüße ☃\n"), "unicode");
  const deep = at(`${"d".repeat(200)}/${"e".repeat(200)}`);
  mkdirSync(deep, { recursive: true });
  writeFileSync(join(deep, "f".repeat(200)), "long");
  symlinkSync("../".repeat(60), at("up"));
  symlinkSync("/absolute", at("absolute"));
}

function writeVaried(path: string, size: number, pool: Buffer, chance: Chance): void {
  const fd = openSync(path, "w");
  for (let left = size; left > 0; ) {
    const length = Math.min(left, 1 << 20);
    const from = Math.floor(chance.next() * (pool.length - length));
    writeSync(fd, pool, from, length);
    left -= length;
  }
  closeSync(fd);
}

const blockBytes = 512;

/** 16 MB, more than a compressor looks back: words, and every fourth block noise. */
function makePool(chance: Chance): Buffer {
  const words = Array.from({ length: 512 }, () => Math.floor(chance.next() * 2 ** 32).toString(36));
  const pool = Buffer.alloc(16 << 20);
  for (let at = 0; at < pool.length; at += blockBytes) {
    if (chance.next() < 0.25) {
      for (let i = 0; i < blockBytes; i += 4) pool.writeUInt32LE(chance.bits(), at + i);
    } else {
      for (let i = 0; i < blockBytes - 16; ) {
        i += pool.write(`${words[Math.floor(chance.next() * words.length)]} `, at + i);
      }
    }
  }
  return pool;
}

/** Numbers as if by chance, the same every time (xorshift32). */
class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed * 0x9e37_79b9;
  }

  next(): number {
    return this.bits() / 2 ** 32;
  }

  bits(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return this.#state >>> 0;
  }
}
