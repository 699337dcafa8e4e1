import { ptr } from "bun:ffi";
import { check, cstring, cstringArray, link } from "./libc.ts";

const libc = link({
  execve: { args: ["ptr", "ptr", "ptr"], returns: "int" },
  signal: { args: ["int", "u64"], returns: "u64" },
  sigemptyset: { args: ["ptr"], returns: "int" },
  sigprocmask: { args: ["int", "ptr", "ptr"], returns: "int" },
});

const SIG_DFL = 0;
const SIG_SETMASK = 2;
const lastSignal = 31;

/**
 * execve(2): this process becomes another program, with default signal handling: a signal that Bun ignores would
 * stay ignored in whatever the program starts. Comes back only to throw.
 */
export function execute(argv: readonly [string, ...string[]], env: readonly string[]): never {
  const path = cstring(argv[0]);
  const argvArray = cstringArray(argv);
  const envArray = cstringArray(env);
  const none = Buffer.alloc(128);
  for (let signal = 1; signal <= lastSignal; signal++) libc.signal(signal, SIG_DFL);
  libc.sigemptyset(none);
  check("sigprocmask", () => libc.sigprocmask(SIG_SETMASK, none, null));
  check(`execve ${argv[0]}`, () =>
    libc.execve(path, ptr(argvArray.pointers), ptr(envArray.pointers)),
  );
  throw new TypeError("execve came back");
}
