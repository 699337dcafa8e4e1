import { ptr } from "bun:ffi";
import { ErrnoError } from "../errno-error.ts";
import { cstring, cstringArray, int32, link } from "../libc.ts";

const libc = link({
  posix_spawn: { args: ["ptr", "ptr", "ptr", "ptr", "ptr", "ptr"], returns: "int" },
  posix_spawn_file_actions_init: { args: ["ptr"], returns: "int" },
  posix_spawn_file_actions_destroy: { args: ["ptr"], returns: "int" },
  posix_spawn_file_actions_adddup2: { args: ["ptr", "int", "int"], returns: "int" },
  posix_spawn_file_actions_addclosefrom_np: { args: ["ptr", "int"], returns: "int" },
  posix_spawn_file_actions_addchdir_np: { args: ["ptr", "ptr"], returns: "int" },
  posix_spawnattr_init: { args: ["ptr"], returns: "int" },
  posix_spawnattr_destroy: { args: ["ptr"], returns: "int" },
  posix_spawnattr_setflags: { args: ["ptr", "i16"], returns: "int" },
  posix_spawnattr_setsigdefault: { args: ["ptr", "ptr"], returns: "int" },
  posix_spawnattr_setsigmask: { args: ["ptr", "ptr"], returns: "int" },
});

const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
const POSIX_SPAWN_SETSID = 0x80;

// sizeof is 336 and 80 in glibc on 64-bit Linux; sigset_t is 128.
const attributesSize = 512;
const actionsSize = 512;
const sigsetSize = 128;

/** A program and its arguments. */
export type Argv = readonly [string, ...string[]];

/**
 * posix_spawn(3): starts `path` (an absolute one; `argv[0]` by itself) in a session of its own, with exactly the
 * descriptors given as 0, 1, 2 and those after, no other descriptor, the environment given, and default signal handling.
 * Returns the pid; the caller reaps it. For roles that do not run Bun's event loop; elsewhere use command.ts.
 */
export function spawnProcess(options: {
  readonly path?: string;
  readonly argv: Argv;
  readonly env: readonly string[];
  readonly cwd: string;
  readonly stdio: readonly [stdin: number, stdout: number, stderr: number, ...others: number[]];
}): number {
  const { stdio } = options;
  const path = cstring(options.path ?? options.argv[0]);
  const cwd = cstring(options.cwd);
  const argv = cstringArray(options.argv);
  const env = cstringArray(options.env);
  const actions = Buffer.alloc(actionsSize);
  const attributes = Buffer.alloc(attributesSize);
  const allSignals = Buffer.alloc(sigsetSize, 0xff);
  const noSignals = Buffer.alloc(sigsetSize);
  const pid = new Int32Array(1);

  refuse("file_actions_init", libc.posix_spawn_file_actions_init(ptr(actions)));
  refuse("attr_init", libc.posix_spawnattr_init(ptr(attributes)));
  try {
    const duplicate = (from: number, to: number) =>
      refuse("adddup2", libc.posix_spawn_file_actions_adddup2(ptr(actions), from, to));
    // First above all of them: a number that is a place may be one of those that are still to be put in theirs.
    const above = Math.max(...stdio.map(int32), stdio.length) + 1;
    for (const [place, fd] of stdio.entries()) duplicate(fd, above + place);
    for (const place of stdio.keys()) duplicate(above + place, place);
    refuse(
      "addclosefrom",
      libc.posix_spawn_file_actions_addclosefrom_np(ptr(actions), stdio.length),
    );
    refuse("addchdir", libc.posix_spawn_file_actions_addchdir_np(ptr(actions), ptr(cwd)));
    const flags = POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
    refuse("setflags", libc.posix_spawnattr_setflags(ptr(attributes), flags));
    refuse("setsigdefault", libc.posix_spawnattr_setsigdefault(ptr(attributes), ptr(allSignals)));
    refuse("setsigmask", libc.posix_spawnattr_setsigmask(ptr(attributes), ptr(noSignals)));
    refuse(
      options.argv[0],
      libc.posix_spawn(
        ptr(pid),
        path,
        ptr(actions),
        ptr(attributes),
        ptr(argv.pointers),
        ptr(env.pointers),
      ),
    );
  } finally {
    libc.posix_spawn_file_actions_destroy(ptr(actions));
    libc.posix_spawnattr_destroy(ptr(attributes));
  }
  return pid[0] ?? 0;
}

/** These calls return an errno instead of setting it. */
function refuse(step: string, code: number): void {
  if (code !== 0) throw new ErrnoError(`posix_spawn ${step}`, code);
}
