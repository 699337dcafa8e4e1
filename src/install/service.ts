import { existsSync, lstatSync, mkdirSync, symlinkSync } from "node:fs";
import { dirname } from "node:path";
import { AppError } from "../lib/errors.ts";
import { type InitSystem, paths } from "./node-files.ts";

/** The daemon as the node's init system knows it. Every call throws what the init system said when it refuses. */
export interface Service {
  /** Starts it now, and at every boot from now on. */
  enable(): Promise<void>;
  /** Stops it, and starts it at no boot any more. */
  disable(): Promise<void>;
  stop(): Promise<void>;
  /** Does not wait until the daemon serves. */
  restart(): Promise<void>;
}

/** Which init system runs the node below `root`. */
export function detectInit(root: string): InitSystem {
  if (existsSync(`${root}/run/systemd/system`)) return "systemd";
  if (existsSync(`${root}/sbin/openrc-run`)) return "openrc";
  // An image that is prepared has nothing running.
  if (root !== "" && existsSync(`${root}/lib/systemd/systemd`)) return "systemd";
  return "none";
}

/** What `enable` leaves of an image's service: it is started when the image boots. */
export function enableInImage(root: string, init: InitSystem): void {
  const links = {
    systemd: {
      link: "/etc/systemd/system/multi-user.target.wants/crib.service",
      target: paths.systemdUnit,
    },
    openrc: { link: "/etc/runlevels/default/crib", target: paths.openrcScript },
    none: undefined,
  };
  const at = links[init];
  if (at === undefined) return;
  const link = `${root}${at.link}`;
  if (lstatSync(link, { throwIfNoEntry: false }) !== undefined) return;
  mkdirSync(dirname(link), { recursive: true });
  symlinkSync(at.target, link);
}

export function openService(init: InitSystem): Service {
  switch (init) {
    case "systemd":
      return {
        async enable() {
          await run("systemctl", "daemon-reload");
          await run("systemctl", "enable", "crib");
          await run("systemctl", "start", "--no-block", "crib");
        },
        async disable() {
          await run("systemctl", "disable", "--now", "crib");
        },
        stop: () => run("systemctl", "stop", "crib"),
        restart: () => run("systemctl", "restart", "--no-block", "crib"),
      };
    case "openrc":
      return {
        async enable() {
          await run("rc-update", "add", "crib", "default");
          await run("rc-service", "crib", "start");
        },
        async disable() {
          await run("rc-service", "--ifstarted", "crib", "stop");
          await run("rc-update", "del", "crib", "default");
        },
        stop: () => run("rc-service", "--ifstarted", "crib", "stop"),
        restart: () => run("rc-service", "crib", "restart"),
      };
    case "none":
      return {
        enable: () => run(paths.supervise, "start"),
        disable: () => run(paths.supervise, "stop"),
        stop: () => run(paths.supervise, "stop"),
        restart: () => run(paths.supervise, "restart"),
      };
  }
}

const timeoutMs = 300_000;

/** Its output goes to a file descriptor that a daemon started by it may keep: only what stderr says at once is read. */
async function run(...argv: readonly string[]): Promise<void> {
  const child = Bun.spawn([...argv], {
    stdio: ["ignore", "ignore", "pipe"],
    timeout: timeoutMs,
  });
  const said = new Response(child.stderr).text();
  said.catch(() => {});
  const code = await child.exited;
  if (code === 0) return;
  const reason = (await said).trim() || `exit code ${code}`;
  throw new AppError(`${argv.join(" ")}: ${reason}`, { kind: "failed-precondition" });
}
