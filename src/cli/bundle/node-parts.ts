import {
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  statSync,
} from "node:fs";
import {
  cpus,
  freemem,
  hostname,
  version as kernel,
  loadavg,
  release,
  totalmem,
  uptime,
} from "node:os";
import { hideSecretsIn } from "../../lib/hide-secrets.ts";
import { nodePaths } from "../../lib/node-paths.ts";
import type { BundlePart } from "./bundle.ts";

const maxLogBytes = 4 << 20;

/** What is read of the node itself. `places` are the directories that are crib's; `log` is its log, where it is a file. */
export function nodeParts(places: readonly string[], log: string | undefined): BundlePart[] {
  return [
    { name: "node.txt", about: "kernel, distribution, memory, load", read: readNode },
    { name: "mounts.txt", about: "mounts in crib's directories", read: () => readMounts(places) },
    {
      name: "processes.txt",
      about: "crib's processes, and where each of their threads waits",
      read: readProcesses,
    },
    {
      name: "files.txt",
      about: "names and sizes of configuration files; no contents",
      read: () =>
        listFiles([
          nodePaths.configDir,
          nodePaths.cniConfigs,
          "/etc/rancher/k3s",
          "/etc/containers",
        ]),
    },
    { name: "log.txt", about: "the last lines of the daemon's log", read: () => readLog(log) },
  ];
}

function readNode(): string {
  const osRelease = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "";
  const pretty = /^PRETTY_NAME="?([^"\n]*)/m.exec(osRelease)?.[1] ?? "unknown";
  const pressure = ["cpu", "memory", "io"].flatMap((kind) => {
    const path = `/proc/pressure/${kind}`;
    return existsSync(path) ? [`pressure ${kind}: ${readFileSync(path, "utf8").trim()}`] : [];
  });
  return [
    `host: ${hostname()}`,
    `system: ${pretty}`,
    `kernel: ${release()} ${kernel()}`,
    `processors: ${cpus().length} (${process.arch})`,
    `memory: ${Math.round(freemem() / 2 ** 20)} of ${Math.round(totalmem() / 2 ** 20)} MiB free`,
    `load: ${loadavg()
      .map((load) => load.toFixed(2))
      .join(" ")}`,
    `up: ${Math.round(uptime())} s`,
    ...pressure,
    "",
  ].join("\n");
}

/** Without the options of file systems: those of a network share may hold a password. */
function readMounts(places: readonly string[]): string {
  const isIn = (line: string) =>
    places.some((place) => line.split(" ")[4]?.startsWith(place)) || line.includes("/run/netns/");
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter(isIn)
    .map((line) => {
      const [mount = "", filesystem = ""] = line.split(" - ");
      const [type = "", source = ""] = filesystem.split(" ");
      return `${mount} - ${type} ${hideSecretsIn(source)}\n`;
    })
    .join("");
}

/** The roles that take nothing from users; commands are named without their arguments. */
const roles = new Set(["serve", "monitor", "unpack", "source", "sockets", "counters"]);

function readProcesses(): string {
  const own = executableOf("self");
  return readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid) && isOurs(executableOf(pid), own))
    .map((pid) => attempt(() => describeProcess(pid)) ?? "")
    .join("");
}

function isOurs(executable: string | undefined, own: string | undefined): boolean {
  if (executable === undefined) return false;
  // An executable that was replaced under its processes is `(deleted)`.
  return executable === own || /\/crib(?:-[\w.]+)?( \(deleted\))?$/.test(executable);
}

function executableOf(pid: string): string | undefined {
  return attempt(() => readlinkSync(`/proc/${pid}/exe`));
}

function describeProcess(pid: string): string {
  const argv = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  const role = argv.find((word) => roles.has(word)) ?? "command";
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const wanted = status
    .split("\n")
    .filter((line) => /^(State|PPid|VmRSS|RssAnon|Threads|FDSize|Sig(?:Q|Pnd)):/.test(line))
    .map((line) => line.replace(/\s+/g, " "));
  const fds = attempt(() => readdirSync(`/proc/${pid}/fd`).length) ?? "?";
  const threads = readdirSync(`/proc/${pid}/task`).map((task) => {
    const at = `/proc/${pid}/task/${task}`;
    const name = attempt(() => readFileSync(`${at}/comm`, "utf8").trim()) ?? "?";
    const state = /^State:\s*(\S)/m.exec(
      attempt(() => readFileSync(`${at}/status`, "utf8")) ?? "",
    )?.[1];
    const stack = attempt(() => readFileSync(`${at}/stack`, "utf8")) ?? "";
    const calls = stack.split("\n").flatMap((line) => line.split(" ")[1]?.split("+")[0] ?? []);
    return `  ${task} ${name} ${state ?? "?"} ${calls.slice(0, 6).join(" < ")}`;
  });
  return `${pid} ${role}: ${wanted.join(", ")}, descriptors: ${fds}\n${threads.join("\n")}\n`;
}

function listFiles(directories: readonly string[]): string {
  return directories
    .flatMap((directory) => {
      const names = attempt(() => readdirSync(directory, { recursive: true, encoding: "utf8" }));
      return (names ?? []).sort().map((name) => {
        const path = `${directory}/${name}`;
        const stats = attempt(() => statSync(path));
        if (stats === undefined) return `${path}: cannot be read\n`;
        const mode = (stats.mode & 0o7777).toString(8);
        return `${path}: ${stats.isDirectory() ? "directory" : `${stats.size} bytes`}, ${mode}\n`;
      });
    })
    .join("");
}

function readLog(file: string | undefined): string {
  if (file !== undefined) return readEnd(file);
  const journal = Bun.which("journalctl") === null ? "" : readJournal();
  if (journal !== "") return journal;
  return existsSync(nodePaths.daemonLog)
    ? readEnd(nodePaths.daemonLog)
    : `neither in the journal nor in ${nodePaths.daemonLog}\n`;
}

function readJournal(): string {
  const argv = ["journalctl", "--unit=crib", "--no-pager", "--lines=5000", "--output=short-iso"];
  const { stdout, exitCode } = Bun.spawnSync(argv, { stderr: "ignore", timeout: 30_000 });
  const text = stdout.toString();
  return exitCode === 0 && !text.startsWith("-- No entries") ? hideSecretsIn(text) : "";
}

function readEnd(file: string): string {
  const size = statSync(file).size;
  const bytes = Buffer.alloc(Math.min(size, maxLogBytes));
  const fd = openSync(file, "r");
  readSync(fd, bytes, 0, bytes.byteLength, size - bytes.byteLength);
  const text = bytes.toString();
  // A line that is cut off may hold half of what would have been hidden.
  return hideSecretsIn(size > maxLogBytes ? text.slice(text.indexOf("\n") + 1) : text);
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
