import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { AppError } from "../../lib/errors.ts";
import { childEnv, roleArgv } from "../../os/process/role.ts";

export interface DaemonPlaces {
  readonly dir: string;
  readonly confDir: string;
  readonly payload: string;
}

/** `crib serve` as a child of its own session, so that a Ctrl-C at the terminal reaches the demo alone. */
export interface DaemonProcess {
  readonly endpoint: string;
  /** Throws when the daemon has ended by itself, with the end of its log. */
  requireRunning(): void;
  /** SIGTERM, and SIGKILL where that does not help. */
  stop(): Promise<{ readonly detail: string }>;
}

const stopMs = 20_000;

export function startDaemon({ dir, confDir, payload }: DaemonPlaces): DaemonProcess {
  writeFileSync(
    `${dir}/config.toml`,
    `[network]\nconf_dirs = [${JSON.stringify(confDir)}]\n[nri]\nenable = false\n`,
  );
  const endpoint = `unix://${dir}/crib.sock`;
  const logFile = `${dir}/daemon.log`;
  const child = Bun.spawn(
    [
      ...roleArgv("serve"),
      `--config=${dir}/config.toml`,
      `--root=${dir}/root`,
      `--state=${dir}/state`,
      `--listen=${endpoint}`,
    ],
    {
      cwd: "/",
      env: { ...childEnv, CRIB_PAYLOAD: payload },
      stdio: ["ignore", "ignore", Bun.file(logFile)],
      detached: true,
    },
  );
  return {
    endpoint,
    requireRunning() {
      if (child.exitCode === null && child.signalCode === null) return;
      const tail = readFileSync(logFile, "utf8").trim().split("\n").slice(-5).join("; ");
      const how = child.signalCode ?? `exit code ${child.exitCode}`;
      throw new AppError(`the daemon ended (${how}): ${tail}`, { kind: "internal" });
    },
    async stop() {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), stopMs);
      const code = await child.exited;
      clearTimeout(timer);
      return { detail: `exit code ${code}` };
    },
  };
}

/** Asks until there is a response; `check` throws what makes asking again useless. */
export async function eventually<T>(
  ask: () => Promise<T | undefined>,
  options: {
    readonly what: string;
    readonly timeoutMs: number;
    readonly check?: () => void;
    readonly signal?: AbortSignal;
  },
): Promise<T> {
  const deadline = performance.now() + options.timeoutMs;
  let cause: unknown;
  while (performance.now() < deadline) {
    options.signal?.throwIfAborted();
    options.check?.();
    try {
      const response = await ask();
      if (response !== undefined) return response;
    } catch (err) {
      cause = err;
    }
    await sleep(20);
  }
  const message = `${options.what} took over ${options.timeoutMs / 1000} s`;
  throw new AppError(message, { kind: "deadline-exceeded", cause });
}
