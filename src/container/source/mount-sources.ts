import { AppError, failedPrecondition } from "../../lib/errors.ts";
import { realpathCached } from "../../os/file/cached-path.ts";
import { ownChild } from "../../os/process/own-child.ts";
import { childEnv, roleArgv } from "../../os/process/role.ts";

const responseMs = 10_000;
/** Children that outlive SIGKILL in a file system that hangs. Beyond it, it is the node that is ill. */
const maxChildren = 64;
const maxMessageBytes = 4096;

/**
 * Looks up paths of the node that a pod names, of any file system: a network's may never respond, and a thread that asks it
 * cannot be killed. What the kernel knows by heart is returned at once, all else by a child, one for each path.
 */
export class MountSources {
  readonly #argv: readonly string[];
  /** What each child that has not ended was asked, and when; the oldest first. */
  readonly #asked = new Set<{ readonly path: string; readonly since: number }>();

  constructor(argv: readonly string[] = roleArgv("source")) {
    this.#argv = argv;
  }

  /** The path behind all links, as it is now; what is not there becomes a directory. */
  async find(path: string): Promise<string> {
    const what = `mount source ${JSON.stringify(path.slice(0, 200))}`;
    try {
      return realpathCached(path) ?? (await this.#ask(path));
    } catch (cause) {
      if (cause instanceof AppError && cause.kind !== "internal") throw new Error(what, { cause });
      throw failedPrecondition(what, cause);
    }
  }

  async #ask(path: string): Promise<string> {
    const now = performance.now();
    const first = [...this.#asked].find((other) => other.path === path);
    if (first !== undefined && now - first.since > responseMs) {
      const seconds = Math.round((now - first.since) / 1000);
      throw hangs(`does not respond for ${seconds} s now`, "unavailable");
    }
    if (this.#asked.size >= maxChildren) throw hangs("too many file systems hang", "unavailable");
    const child = ownChild(
      Bun.spawn([...this.#argv, path], {
        cwd: "/",
        env: { ...childEnv },
        stdio: ["ignore", "pipe", "pipe"],
      }),
    );
    const entry = { path, since: now };
    this.#asked.add(entry);
    const ended = child.exited.finally(() => this.#asked.delete(entry));
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      late.reject(hangs(`does not respond in ${responseMs} ms`, "deadline-exceeded"));
    }, responseMs);
    try {
      const exitCode = await Promise.race([ended, late.promise]);
      if (exitCode === 0) return await new Response(child.stdout).text();
      const message = await new Response(child.stderr).text();
      throw new Error(
        message
          .slice(0, maxMessageBytes)
          .trim()
          .replace(/^crib: /, ""),
      );
    } finally {
      clearTimeout(timer);
    }
  }
}

function hangs(message: string, kind: "unavailable" | "deadline-exceeded"): AppError {
  return new AppError(message, { kind });
}
