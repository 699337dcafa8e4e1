import { createPublicKey, verify } from "node:crypto";
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { arch } from "node:os";
import { dirname } from "node:path";
import { syncPath } from "../lib/atomic-file.ts";
import { AppError, failedPrecondition, invalidArgument } from "../lib/errors.ts";
import { asObject, asString, parseJson } from "../lib/json.ts";

/** `e_machine` of an ELF header (elf(5)). */
const machines: Readonly<Partial<Record<string, number>>> = { x64: 62, arm64: 183 };
const elfClass64 = 2;
const versionTimeoutMs = 60_000;
const maxSignatureBytes = 1 << 16;
const maxVersionBytes = 1 << 20;

/** The version of the crib in `file`, which is asked. Throws failed-precondition when it is no crib for this node. */
export async function versionOfExecutable(file: string): Promise<string> {
  requireElf(file);
  const stdout = await ask(file, "version", "--output=json");
  try {
    const response = asObject(parseJson(stdout, file, { maxBytes: maxVersionBytes }), file);
    return asString(response["crib"], `${file}: crib`);
  } catch (cause) {
    throw failedPrecondition(`${file}: says no version: not crib`, cause);
  }
}

/** Throws failed-precondition when the crib in `file` would not start with this node's configuration. */
export async function requireConfigAccepted(file: string): Promise<void> {
  await ask(file, "config", "check");
}

async function ask(file: string, ...args: readonly string[]): Promise<Uint8Array> {
  const child = Bun.spawn([file, ...args], {
    // Nobody's socket: only what the file says of itself.
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", CRIB_SOCKET: "unix:///nonexistent" },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: versionTimeoutMs,
    killSignal: "SIGKILL",
  });
  const [code, stdout, stderr] = await Promise.all([
    child.exited,
    new Response(child.stdout).bytes(),
    new Response(child.stderr).text(),
  ]);
  const said = stderr.trim().slice(0, 500) || `exit code ${code ?? child.signalCode}`;
  if (code !== 0) throw failedPrecondition(`${file}: ${args.join(" ")}: ${said}`);
  return stdout;
}

function requireElf(file: string): void {
  const head = Buffer.alloc(20);
  const fd = openSync(file, "r");
  try {
    readSync(fd, head, 0, head.byteLength, 0);
  } finally {
    closeSync(fd);
  }
  if (head.toString("latin1", 0, 4) !== "\x7fELF" || head[4] !== elfClass64) {
    throw failedPrecondition(`${file}: no Linux executable`);
  }
  const machine = head.readUInt16LE(18);
  if (machine !== machines[arch()]) {
    const name = Object.entries(machines).find(([, value]) => value === machine)?.[0];
    throw failedPrecondition(
      `${file}: for ${name ?? `machine ${machine}`}, this node is ${arch()}`,
    );
  }
}

/** Throws data-loss when the file is another one than `digest` (`sha256:...`) says. */
export async function requireDigest(file: string, digest: string): Promise<void> {
  if (!/^sha256:[0-9a-f]{64}$/.test(digest)) {
    throw invalidArgument(`digest ${digest}: not sha256: and 64 hexadecimal digits`);
  }
  const found = await digestOf(file);
  if (found !== digest) throw new AppError(`${file}: is ${found}`, { kind: "data-loss" });
}

/**
 * Throws permission-denied when `signature` (base64 or binary) is not one of the file by the public key (PEM): what
 * `cosign sign-blob` and `openssl dgst -sha256 -sign` write.
 */
export function requireSignature(file: string, signature: string, key: string): void {
  if (statSync(signature).size > maxSignatureBytes) {
    throw invalidArgument(`signature ${signature}: too large to be one`);
  }
  const bytes = readFileSync(signature);
  const text = bytes.toString("latin1").trim();
  const isBase64 = /^[A-Za-z0-9+/=\s]+$/.test(text);
  const publicKey = createPublicKey(readFileSync(key));
  // Ed25519 takes its digest itself.
  const algorithm = publicKey.asymmetricKeyType === "ed25519" ? null : "sha256";
  const signed = isBase64 ? Buffer.from(text, "base64") : bytes;
  if (!verify(algorithm, readFileSync(file), publicKey, signed)) {
    throw new AppError(`signature ${signature}: not one of ${file} by ${key}`, {
      kind: "permission-denied",
    });
  }
}

export async function isSameFile(one: string, other: string): Promise<boolean> {
  if (!existsSync(other)) return false;
  return (await digestOf(one)) === (await digestOf(other));
}

export async function digestOf(file: string): Promise<string> {
  const hasher = new Bun.CryptoHasher("sha256");
  for await (const chunk of Bun.file(file).stream()) hasher.update(chunk);
  return `sha256:${hasher.digest("hex")}`;
}

/** Copies an executable so that `to` is the old one or the whole new one, whatever happens, and on the disk. */
export function copyExecutable(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  const next = `${to}.next`;
  rmSync(next, { force: true });
  copyFileSync(from, next, constants.COPYFILE_EXCL);
  chmodSync(next, 0o755);
  syncPath(next);
  renameSync(next, to);
  syncPath(dirname(to));
}

/** Another name for the same file, in the place of what has that name. */
export function linkInPlace(from: string, to: string): void {
  const next = `${to}.next`;
  rmSync(next, { force: true });
  linkSync(from, next);
  renameSync(next, to);
  // rename(2) does nothing when both are the same file already.
  rmSync(next, { force: true });
  syncPath(dirname(to));
}
