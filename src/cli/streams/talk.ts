import { abortable } from "../../lib/abortable.ts";
import { AppError } from "../../lib/errors.ts";
import { asList, asObject, asString, optional, parseJson } from "../../lib/json.ts";
import type { SpdyStream } from "../../spdy/stream.ts";
import type { CommandEnv } from "../command.ts";
import type { DetachKeys } from "./detach-keys.ts";
import { dialStream } from "./dial.ts";
import { maxErrorBytes, readErrorStream, readStream } from "./read.ts";

export interface TalkOptions {
  readonly stdin: boolean;
  readonly terminal: boolean;
  /** What a person types to leave; absent: nothing. */
  readonly detachKeys?: DetachKeys | undefined;
  /** When the streams are there. */
  readonly onOpen?: () => void;
}

/** How a talk ended: an exec's command with its exit code, an attached program by itself, or the person left. */
export type TalkEnd =
  | { readonly kind: "exit"; readonly exitCode: number }
  | { readonly kind: "end" }
  | { readonly kind: "detached" };

/**
 * Connects this process's stdin, stdout, stderr and terminal with a program behind the URL of CRI's Exec or Attach,
 * until it has ended and all of its output is written. While it reads keys they are the program's, Ctrl-C too.
 */
export async function talk(env: CommandEnv, url: string, options: TalkOptions): Promise<TalkEnd> {
  const { signal } = env.ctx;
  using connection = await dialStream(signal, url, "v4.channel.k8s.io");
  const open = (streamtype: string) => connection.spdy.open({ streamtype });
  const error = await open("error");
  const stdin = options.stdin ? await open("stdin") : undefined;
  const stdout = await open("stdout");
  const stderr = options.terminal ? undefined : await open("stderr");
  const resize = options.terminal ? await open("resize") : undefined;

  using local = new DisposableStack();
  if (options.terminal && options.stdin && env.input.isTerminal) local.use(env.input.takeKeys());
  if (resize !== undefined) local.use(followSize(env, resize));
  options.onOpen?.();
  const left = Promise.withResolvers<TalkEnd>();
  if (stdin !== undefined) {
    copyInput(env, stdin, options.detachKeys).then(
      (how) => how === "detached" && left.resolve({ kind: "detached" }),
      (err: unknown) => left.reject(err),
    );
  }
  const ended = Promise.all([
    copyOutput(stdout, (bytes) => env.out.write(bytes)),
    stderr && copyOutput(stderr, (bytes) => env.out.writeError(bytes)),
    readErrorStream(error),
  ]).then(([, , status]) => readStatus(status));
  return await abortable(Promise.race([ended, left.promise]), signal);
}

/** Gives the program the size of our terminal, now and whenever it changes. */
function followSize(env: CommandEnv, resize: SpdyStream): Disposable {
  const tell = () => {
    const size = env.out.size();
    if (size === undefined) return;
    const text = JSON.stringify({ Width: size.columns, Height: size.rows });
    resize.write(Buffer.from(`${text}\n`)).catch(() => {}); // it has ended
  };
  tell();
  return env.out.onResize(tell);
}

async function copyInput(
  env: CommandEnv,
  stdin: SpdyStream,
  detachKeys: DetachKeys | undefined,
): Promise<"detached" | "ended"> {
  for (let bytes = await env.input.read(); bytes; bytes = await env.input.read()) {
    const typed = detachKeys?.push(bytes) ?? { through: bytes, isDetached: false };
    if (typed.isDetached) return "detached";
    try {
      await stdin.write(typed.through);
    } catch {
      return "ended"; // and what has ended says so itself
    }
  }
  await stdin.end().catch(() => {});
  return "ended";
}

async function copyOutput(from: SpdyStream, write: (bytes: Buffer) => void): Promise<void> {
  for (let bytes = await readStream(from); bytes; bytes = await readStream(from)) write(bytes);
}

/** The last word of the server is a metav1.Status. */
function readStatus(bytes: Buffer): TalkEnd {
  const json = parseJson(bytes, "status", { maxBytes: maxErrorBytes });
  const status = asObject(json, "status");
  if (status["status"] === "Success") return { kind: "end" };
  const message = optional(status["message"], "status: message", asString) ?? "no reason given";
  if (status["reason"] !== "NonZeroExitCode") throw new AppError(message, { kind: "internal" });
  const details = asObject(status["details"], "status: details");
  for (const cause of asList(details["causes"], "status: causes", asObject)) {
    if (cause["reason"] !== "ExitCode") continue;
    const exitCode = Number(cause["message"]);
    if (Number.isInteger(exitCode)) return { kind: "exit", exitCode };
  }
  throw new AppError(message, { kind: "internal" });
}
