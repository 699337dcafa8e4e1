import { constants } from "node:os";
import { AppError, isExhaustion } from "../lib/errors.ts";

/** Linux's numbers by name: `errno.ENOENT`. */
export const errno = constants.errno;

/** Of two names for one number, the first in the alphabet: EAGAIN, not EWOULDBLOCK. */
const nameOf = new Map(
  Object.entries(errno)
    .reverse()
    .map(([name, code]) => [code as number, name]),
);

/** A system call said no. The message is `call: ENAME`. */
export class ErrnoError extends AppError {
  override readonly name = "ErrnoError";
  readonly errno: number;

  constructor(call: string, code: number) {
    const name = nameOf.get(code) ?? `errno ${code}`;
    super(`${call}: ${name}`, {
      kind: isExhaustion(name) ? "resource-exhausted" : "internal",
    });
    this.errno = code;
  }
}

/** Whether `err` is that errno, from here or from `node:fs`. */
export function isErrno(err: unknown, name: keyof typeof errno): boolean {
  if (err instanceof ErrnoError) return err.errno === errno[name];
  return err instanceof Error && (err as NodeJS.ErrnoException).code === name;
}

/** What `look` returns; `undefined` where what it looks at is not there (ENOENT, and the errors given). */
export function ifThere<T>(
  look: () => T,
  also: readonly (keyof typeof errno)[] = [],
): T | undefined {
  try {
    return look();
  } catch (err) {
    if (isErrno(err, "ENOENT") || also.some((name) => isErrno(err, name))) return undefined;
    throw err;
  }
}
