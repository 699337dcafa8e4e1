import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import type { SandboxId } from "../../src/lib/id.ts";
import { nodeNetnsPath } from "../../src/network/namespace/node-netns.ts";
import { MNT_DETACH, UMOUNT_NOFOLLOW, umount } from "../../src/os/mount/mount.ts";
import { mountPointsBelow } from "../../src/os/mount/mount-points.ts";
import { type Cri, connectCri } from "./cri.ts";
import { eventually } from "./eventually.ts";
import { dataDir, executable, payloadDir } from "./payload.ts";

export interface DaemonOptions {
  /** TOML added to the configuration. */
  readonly config?: string;
  /** TOML added to its table `nri`; unless told, that plugins have a minute, as those have that a test plays. */
  readonly nri?: string;
  /** TOML added to its table `images`. */
  readonly images?: string;
  /** Directory of certs.d-style mirror files. */
  readonly registryConfigDir?: string;
  /** What serves while no CNI configuration is there; "embedded" unless told. */
  readonly network?: "embedded" | "none";
  /** Import the image that crib carries before it serves. */
  readonly demoImage?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  /** Of the caller's making and removing; absent: one of its own. */
  readonly root?: string;
  /** Where its state directory is made; /run unless told. */
  readonly stateIn?: string;
  /** Another file than `dist/crib`. */
  readonly executable?: string;
  /** A directory of programs that are the node's as far as this daemon sees. */
  readonly programs?: string;
}

const patientWithPlugins = "registration_timeout_ms = 60000\nrequest_timeout_ms = 60000";

/**
 * The compiled executable serving CRI in directories of its own. Disposing it removes every pod through CRI,
 * stops the daemon, and ends its monitors.
 */
export class Daemon implements AsyncDisposable {
  readonly root: string;
  readonly state: string;
  readonly socket: string;
  readonly cri: Cri;
  readonly #options: DaemonOptions;
  #process: Bun.Subprocess | undefined;
  #exitCode: number | null = null;
  #bootId: string | undefined;

  private constructor(options: DaemonOptions) {
    this.#options = options;
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    this.root = options.root ?? mkdtempSync("/var/tmp/crib-test-");
    this.state = mkdtempSync(`${options.stateIn ?? "/run"}/crib-test-`);
    this.socket = `${this.state}/crib.sock`;
    this.cri = connectCri(this.socket);
  }

  static async start(options: DaemonOptions = {}): Promise<Daemon> {
    const daemon = new Daemon(options);
    if (options.demoImage === true) importDemoImage(daemon.root);
    await daemon.start();
    return daemon;
  }

  get pid(): number {
    if (this.#process === undefined) throw new Error("the daemon is not running");
    return this.#process.pid;
  }

  get isRunning(): boolean {
    return this.#process?.exitCode === null;
  }

  /** What the executable is started with. */
  get env(): Readonly<Record<string, string>> {
    return { PATH: process.env["PATH"] ?? "", CRIB_DATA: dataDir, ...this.#options.env };
  }

  /** Of the daemon that was ended last. */
  get exitCode(): number | null {
    return this.#exitCode;
  }

  /** Where plugins connect. */
  get nriSocket(): string {
    return `${this.state}/nri.sock`;
  }

  get logFile(): string {
    return `${this.root}/daemon.log`;
  }

  /** What the daemon has logged so far. */
  get log(): string {
    return existsSync(this.logFile) ? readFileSync(this.logFile, "utf8") : "";
  }

  /** Starts it (again) and waits until it serves. `toml` is instead of what it had, `file` another version of it. */
  async start(toml?: string, file: string = this.#options.executable ?? executable): Promise<void> {
    const config = `${this.root}/config.toml`;
    const dirs = this.#options.registryConfigDir ?? `${this.root}/certs.d`;
    const nri = [
      `socket_path = ${JSON.stringify(this.nriSocket)}`,
      `plugin_path = ${JSON.stringify(`${this.root}/nri/plugins`)}`,
      `plugin_config_path = ${JSON.stringify(`${this.root}/nri/conf.d`)}`,
      this.#options.nri ?? patientWithPlugins,
    ];
    writeFileSync(
      config,
      `[nri]\n${nri.join("\n")}\n[images]\nregistry_config_dirs = [${JSON.stringify(dirs)}]\n${this.#options.images ?? ""}\n[network]\ndefault = "${this.#options.network ?? "embedded"}"\nconf_dirs = [${JSON.stringify(`${this.root}/net.d`)}]\n${toml ?? this.#options.config ?? ""}`,
    );
    const node = [...withPrograms(this.#options.programs), ...this.#withBootId()];
    this.#process = Bun.spawn([...node, file, ...this.#args], {
      env: this.env,
      stdio: ["ignore", "ignore", Bun.file(this.logFile)],
    });
    try {
      await Promise.race([
        eventually(() => this.cri.runtime.version({}), 120_000),
        this.#process.exited.then((code) => Promise.reject(new Error(`exit code ${code}`))),
      ]);
      if (this.#options.demoImage === true) await eventually(() => this.#requireDemoImage());
    } catch (cause) {
      throw new Error(`the daemon does not serve:\n${this.log}`, { cause });
    }
  }

  /** In a mount namespace of its own, where the kernel tells this boot id. */
  #withBootId(): readonly string[] {
    if (this.#bootId === undefined) return [];
    const file = `${this.root}/boot-id`;
    writeFileSync(file, `${this.#bootId}\n`);
    const script = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"';
    return ["unshare", "--mount", "sh", "-c", script, file];
  }

  get #args(): string[] {
    return [
      "serve",
      `--config=${this.root}/config.toml`,
      `--root=${this.root}`,
      `--state=${this.state}`,
      `--listen=unix://${this.socket}`,
    ];
  }

  /** Runs it to its end, where it is not to start. */
  async run(): Promise<{ readonly exitCode: number; readonly stderr: string }> {
    const child = Bun.spawn([this.#options.executable ?? executable, ...this.#args], {
      env: this.env,
      stdio: ["ignore", "ignore", "pipe"],
      timeout: 120_000,
    });
    const stderr = await new Response(child.stderr).text();
    return { exitCode: await child.exited, stderr };
  }

  async #requireDemoImage(): Promise<void> {
    const { image } = await this.cri.image.imageStatus({ image: { image: "crib.local/demo:1" } });
    if (image === undefined) throw new Error("the demo image is not imported yet");
  }

  /** Ends the daemon and leaves containers and monitors running. */
  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    this.#process?.kill(signal);
    await this.#process?.exited;
    this.#exitCode = this.#process?.exitCode ?? null;
    this.#process = undefined;
  }

  /** What a reboot leaves: no process, no mount, nothing in the state directory, and another boot id. */
  async reboot(): Promise<void> {
    await this.loseState();
    this.#bootId = crypto.randomUUID();
    await this.start();
  }

  /** What a system container that is started again has lost, its boot id aside: processes, mounts, the state directory. */
  async loseState(): Promise<void> {
    const { containers } = await this.cri.runtime.listContainers({});
    const { items: pods } = await this.cri.runtime.listPodSandbox({});
    await this.end("SIGKILL");
    this.signalMonitors("SIGKILL");
    for (const { pid } of processes()) {
      const inside = [...containers, ...pods].some(({ id }) => cgroupsOf(pid).includes(id));
      if (inside) killUnlessEnded(pid);
    }
    await eventually(() => {
      if (this.monitors().length > 0) throw new Error("monitors are still there");
    });
    for (const path of mountPointsBelow(this.state).toReversed()) {
      umount(path, MNT_DETACH | UMOUNT_NOFOLLOW);
    }
    for (const path of pods.map(({ id }) => nodeNetnsPath(this.state, id as SandboxId))) {
      if (!existsSync(path)) continue;
      umount(path, MNT_DETACH | UMOUNT_NOFOLLOW);
      rmSync(path);
    }
    for (const name of readdirSync(this.state))
      rmSync(`${this.state}/${name}`, { recursive: true });
  }

  /** Pids of its children in a role. */
  children(role: string): readonly number[] {
    return processes()
      .filter(({ pid, argv }) => argv[1] === role && parentOf(pid) === this.pid)
      .map(({ pid }) => pid);
  }

  /** Pids of the living monitors. */
  monitors(): readonly number[] {
    return processes()
      .filter(
        ({ argv }) => argv.includes("monitor") && argv.some((arg) => arg.startsWith(this.state)),
      )
      .map(({ pid }) => pid);
  }

  signalMonitors(signal: NodeJS.Signals): void {
    for (const pid of this.monitors()) killUnlessEnded(pid, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#process === undefined || this.#process.exitCode !== null) await this.start();
      const { items } = await this.cri.runtime.listPodSandbox({});
      for (const { id } of items) {
        await this.cri.runtime.stopPodSandbox({ podSandboxId: id });
        await this.cri.runtime.removePodSandbox({ podSandboxId: id });
      }
    } finally {
      await this.end("SIGTERM");
      this.signalMonitors("SIGKILL");
      await eventually(() => {
        if (this.monitors().length > 0) throw new Error("monitors are still there");
      });
      if (this.#options.root === undefined) rmSync(this.root, { recursive: true, force: true });
      rmSync(this.state, { recursive: true, force: true });
    }
  }
}

function killUnlessEnded(pid: number, signal: NodeJS.Signals = "SIGKILL"): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended in the meantime.
  }
}

/** In a mount namespace of its own, whose /usr/local/sbin is that directory. */
function withPrograms(directory: string | undefined): readonly string[] {
  if (directory === undefined) return [];
  const script = 'mount --bind "$0" /usr/local/sbin && exec "$@"';
  return ["unshare", "--mount", "sh", "-c", script, directory];
}

/** Puts the embedded image where the daemon imports archives from when it starts. */
/** `crib serve` imports what lies there. */
export function importDemoImage(root: string): void {
  mkdirSync(`${root}/images`, { recursive: true, mode: 0o700 });
  symlinkSync(`${payloadDir()}/demo.tar`, `${root}/images/demo.tar`);
}

function cgroupsOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, "latin1");
  } catch {
    return ""; // it has ended in the meantime
  }
}

function parentOf(pid: number): number | undefined {
  try {
    return Number(readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)?.split(" ")[1]);
  } catch {
    return undefined; // it has ended in the meantime
  }
}

/** Every process with its arguments. */
export function processes(): readonly { readonly pid: number; readonly argv: readonly string[] }[] {
  const found: { pid: number; argv: string[] }[] = [];
  for (const name of readdirSync("/proc").filter((one) => /^\d+$/.test(one))) {
    try {
      const argv = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0").slice(0, -1);
      found.push({ pid: Number(name), argv });
    } catch {
      // It has ended in the meantime.
    }
  }
  return found;
}
