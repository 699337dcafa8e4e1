import type { Context } from "../../lib/context.ts";
import type { Argv } from "../../os/process/spawn.ts";
import type { RuntimeFeatures } from "../runtime.ts";

/** What `state` says (runtime-spec, runtime.md). */
export interface RuntimeState {
  readonly status: "creating" | "created" | "running" | "stopped" | "paused";
  /** 0 when stopped. */
  readonly pid: number;
}

export interface CreateArguments {
  readonly id: string;
  readonly bundleDir: string;
  readonly pidFile: string;
  /** Where it writes why it failed, as JSON lines. */
  readonly logFile: string;
  readonly consoleSocket?: string | undefined;
}

export interface RestoreArguments extends CreateArguments {
  readonly imageDir: string;
  readonly workDir: string;
  /** `apparmor:NAME`, in the place of what the checkpoint says. */
  readonly lsmProfile?: string | undefined;
}

export interface ExecArguments {
  readonly id: string;
  /** An OCI `process` object. */
  readonly processFile: string;
  readonly pidFile: string;
  readonly logFile: string;
  readonly consoleSocket?: string | undefined;
  /** Return as soon as the process runs, instead of waiting for it. */
  readonly detach: boolean;
}

/**
 * A program with runc's command line. A container's first process is made by whoever runs `createArgv` (the monitor,
 * which becomes its parent) and waits there until `start`.
 */
export interface OciProgram {
  readonly name: string;
  /** The program, for people. */
  readonly path: string;
  readonly features: RuntimeFeatures;
  /** The whole environment of its commands. */
  readonly env: Readonly<Record<string, string>>;
  /** It is the runc that is known so well that some of its work may be done without it (direct/). */
  readonly isEmbeddedRunc: boolean;
  /** It does not tell systemd of a swap limit of 0: see keepSwapLimit. */
  readonly losesZeroSwap: boolean;
  /** It is known to let containers join namespaces by their paths; of others that is found out. */
  readonly joinsNamespaces: boolean;
  /** Where it keeps its state; `undefined` where containers are not to be made without it. */
  readonly directRoot: string | undefined;
  createArgv(options: CreateArguments): Argv;
  /** Makes a container whose program goes on from a checkpoint, in the place of `createArgv` and `start`. */
  restoreArgv(options: RestoreArguments): Argv;
  execArgv(options: ExecArguments): Argv;
  /** Lets the user's program run. */
  start(ctx: Context, id: string): Promise<void>;
  /**
   * Removes the runtime's state of a container, and kills what is left of it. Idempotent. State that the runtime does
   * not remove itself is removed here: killing for good is the cgroup's part, and a container must be removable.
   */
  delete(ctx: Context, id: string): Promise<void>;
  /**
   * Ends a `create` or `start` of this container that hangs, or that somebody began who has been killed. The first
   * process of a container that waits to be started may look like a `create`.
   */
  interrupt(id: string, steps: readonly ("create" | "start" | "restore")[]): Promise<void>;
  /** `resources` is the runtime-spec's `linux.resources`. */
  update(ctx: Context, id: string, resources: object): Promise<void>;
  /**
   * Dumps a running container with CRIU and lets it go on. `failed-precondition` with CRIU's reason where it cannot.
   * What CRIU logs is in `workDir`.
   */
  checkpoint(
    ctx: Context,
    id: string,
    options: { readonly imageDir: string; readonly workDir: string; readonly terminal: boolean },
  ): Promise<void>;
  /** `undefined` when the runtime does not know the container. */
  state(ctx: Context, id: string): Promise<RuntimeState | undefined>;
}
