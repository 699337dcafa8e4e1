import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { type Daemon, processes } from "./daemon.ts";

const addressDir = "/run/crib-network";

/** Everything on the node that belongs to a pod of this daemon. Empty when all pods have been removed. */
export function leftOvers(daemon: Daemon, ids: readonly string[]): readonly string[] {
  const { root, state } = daemon;
  const isOurs = (text: string) => ids.some((id) => text.includes(id));
  return [
    ...listed("mount", lines("/proc/self/mountinfo"), (line) =>
      [state, `${root}/snapshots`].some((dir) => line.includes(` ${dir}/`)),
    ),
    ...["sandboxes", "containers", ...runtimeDirectories(state)].flatMap((dir) =>
      listed(`state ${dir}`, entries(`${state}/${dir}`)),
    ),
    ...listed("socket of a shim", entries(`${state}/shims/s`)),
    ...listed("socket of a shim", entries("/run/containerd/s"), (name) =>
      ids.some((id) => name === shimSocketOf(state, id)),
    ),
    ...listed("directory of a shim", entries(`${state}/shims`), (name) => isOurs(name)),
    ...entries(`${state}/monitors`).flatMap((id) =>
      listed("monitor's record", entries(`${state}/monitors/${id}/containers`)),
    ),
    // As many as the database has rows.
    ...["sandboxes", "containers"].flatMap((kind) =>
      listed(`record of ${kind}`, entries(`${state}/records/${kind}`)),
    ),
    ...listed("network namespace", entries("/run/netns"), isOurs),
    ...listed("rule", rules(), isOurs),
    ...listed("snapshot", entries(`${root}/snapshots/containers`)),
    ...listed("network record", entries(`${root}/network`), (name) => /^[0-9a-f]{64}/.test(name)),
    ...addresses()
      .filter(([, owner]) => isOurs(owner))
      .map(([path]) => `address ${path}`),
    ...cgroups()
      .filter((name) => isOurs(name))
      .map((path) => `cgroup ${path}`),
    ...processes()
      .map(({ pid, argv }) => `${pid} ${argv.join(" ")}`)
      .filter((text) => isOurs(text) || (text.includes(state) && / runc | crun /.test(text)))
      .map((text) => `process ${text}`),
  ];
}

/** Where OCI runtimes have their containers; below one of a shim is its namespace, and then its containers. */
function runtimeDirectories(state: string): readonly string[] {
  return entries(`${state}/runtime`).flatMap((handler) => {
    const dir = `runtime/${handler}`;
    const namespace = shimNamespaceOf(state);
    return existsSync(`${state}/${dir}/${namespace}`) ? [`${dir}/${namespace}`] : [dir];
  });
}

/** As open-shim.ts makes it. */
export function shimNamespaceOf(state: string): string {
  return `crib-${createHash("sha256").update(state).digest("hex").slice(0, 12)}`;
}

/** Of a shim that takes no directory for its socket, as containerd's library names it. */
export function shimSocketOf(state: string, id: string): string {
  const path = `${state}/shims/events/${shimNamespaceOf(state)}/${id}`;
  return createHash("sha256").update(path).digest("hex");
}

function listed(
  kind: string,
  names: readonly string[],
  wanted: (name: string) => boolean = () => true,
): readonly string[] {
  return names.filter(wanted).map((name) => `${kind}: ${name}`);
}

function lines(path: string): readonly string[] {
  return readFileSync(path, "utf8").split("\n");
}

function entries(dir: string): readonly string[] {
  return existsSync(dir) ? readdirSync(dir) : [];
}

/** Files of host-local, which hold the id of the sandbox that has the address. */
function addresses(): readonly (readonly [string, string])[] {
  return entries(addressDir).flatMap((network) =>
    entries(`${addressDir}/${network}`).flatMap((name) => {
      const path = `${addressDir}/${network}/${name}`;
      try {
        return [[path, readFileSync(path, "utf8")] as const];
      } catch {
        return []; // another daemon's, given back in the meantime
      }
    }),
  );
}

/** Host ports and the like; comments in them name the sandbox. */
function rules(): readonly string[] {
  return [["iptables-save"], ["ip6tables-save"], ["nft", "list", "ruleset"]].flatMap((argv) => {
    if (Bun.which(argv[0] ?? "") === null) return [];
    return Bun.spawnSync(argv).stdout.toString().split("\n");
  });
}

/** By find(1), which does not mind that others come and go. */
function cgroups(): readonly string[] {
  const places = ["/sys/fs/cgroup", "-type", "d", "-path", "*/crib/*", "-prune"];
  return Bun.spawnSync(["find", ...places])
    .stdout.toString()
    .split("\n")
    .slice(0, -1);
}
