import { mkdirSync, writeFileSync } from "node:fs";
import { generateContainerId } from "../../src/lib/id.ts";

export interface TestContainer {
  readonly id: string;
  readonly bundle: { readonly dir: string; readonly exitFile: string; readonly pidFile: string };
  readonly logPath: string;
  /** Below the root of each hierarchy. */
  readonly cgroup: string;
}

export interface TestContainerOptions {
  readonly rootfs: string;
  readonly args: readonly string[];
  readonly terminal?: boolean;
  readonly memory?: number;
  /** As the runtime-spec has it. */
  readonly hooks?: object;
  readonly namespaces?: readonly string[];
}

/** A bundle as small as runc and crun accept it, in a cgroup of its own. */
export function makeTestContainer(stateDir: string, options: TestContainerOptions): TestContainer {
  const id = generateContainerId();
  const dir = `${stateDir}/containers/${id}`;
  mkdirSync(dir, { recursive: true });
  const cgroup = `/crib-test/${id}`;
  const memory = options.memory;
  const spec = {
    ociVersion: "1.0.2",
    process: { ...testProcess(options.args), terminal: options.terminal ?? false },
    root: { path: options.rootfs },
    hooks: options.hooks,
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
      {
        destination: "/dev/pts",
        type: "devpts",
        source: "devpts",
        options: ["newinstance", "ptmxmode=0666"],
      },
    ],
    linux: {
      namespaces: (options.namespaces ?? ["mount", "ipc", "uts", "pid"]).map((type) => ({ type })),
      cgroupsPath: cgroup,
      resources: memory === undefined ? {} : { memory: { limit: memory, swap: memory } },
    },
  };
  writeFileSync(`${dir}/config.json`, JSON.stringify(spec));
  return {
    id,
    cgroup,
    bundle: { dir, exitFile: `${dir}/exit.json`, pidFile: `${dir}/pid` },
    logPath: `${stateDir}/logs/${id}.log`,
  };
}

/** An OCI process object: a shell script as root. */
export function testProcess(args: readonly string[]): object {
  return { user: { uid: 0, gid: 0 }, args, env: ["PATH=/bin"], cwd: "/" };
}

/** What a container wrote to a stream, put together from its CRI log. Throws for a broken entry. */
export function readCriLog(text: string, stream: "stdout" | "stderr"): string {
  let content = "";
  for (const line of text.split("\n").slice(0, -1)) {
    const entry = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) ([PF]) (.*)$/s.exec(
      line,
    );
    if (entry === null) throw new Error(`not a log entry: ${JSON.stringify(line.slice(0, 200))}`);
    if (entry[1] === stream) content += entry[2] === "F" ? `${entry[3]}\n` : entry[3];
  }
  return content;
}
