import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join, resolve } from "node:path";
import { parts, repositoryDir } from "../../parts/paths.ts";
import { makeInitramfs } from "../disks.ts";
import { followConsole } from "../guest.ts";
import { machineOf } from "../machine.ts";
import { fetchKernel, guestCache, requireQemu } from "../packages.ts";
import { makeProgramsDisk, makeSystemdRoot } from "./disks.ts";

export interface SystemdNodeOptions {
  readonly crib?: string;
  /**
   * The node has no crib, service or configuration of it: these files are in /usr/local/share/guest instead, as somebody has
   * downloaded them.
   */
  readonly downloads?: readonly string[];
  /** Further programs for /usr/local/bin. */
  readonly programs?: readonly string[];
  /** Texts that are in /usr/local/share/guest. */
  readonly files?: Readonly<Record<string, string>>;
  /** Added to the kernel's command line. */
  readonly kernelArguments?: string;
  /** Gets `console.log`. */
  readonly outDir: string;
  readonly progress?: (line: string) => void;
}

export interface Output {
  readonly exitCode: number;
  /** Both streams. */
  readonly text: string;
}

const memoryMib = 2560;
const defaultSeconds = 900;
/** What the root of the guests has of crib, registries apart. */
const withoutCrib = `
  rm /etc/systemd/system/crib.service /etc/crib/config.toml /etc/crictl.yaml
  systemctl daemon-reload`;

/** A virtual machine that runs Debian with systemd. What it writes is gone when it ends, and outlives its reboots. */
export class SystemdNode implements AsyncDisposable {
  readonly #port: Port;
  readonly #rollback: AsyncDisposableStack;

  constructor(port: Port, rollback: AsyncDisposableStack) {
    this.#port = port;
    this.#rollback = rollback;
  }

  /** Runs a script of bash as root, and returns when it has ended: with its exit code, 124 when it took too long. */
  async run(script: string, seconds = defaultSeconds): Promise<Output> {
    return await this.#port.run(script, seconds);
  }

  /** Its output, when it ended with 0. */
  async output(script: string, seconds?: number): Promise<string> {
    const { exitCode, text } = await this.run(script, seconds);
    if (exitCode !== 0) throw new Error(`exit code ${exitCode}: ${script}\n${text}`);
    return text;
  }

  /** Ends the machine with `how`, and returns when it has booted again. */
  async reboot(how: "orderly" | "power cut"): Promise<void> {
    const back = this.#port.nextBoot();
    const script = how === "orderly" ? "systemctl reboot" : "echo b > /proc/sysrq-trigger";
    this.#port.send(`(sleep 1; ${script}) > /dev/null 2>&1 &\n`);
    await back;
  }

  /** Cuts the power `afterMs` after the script was started, and returns when it has booted again. */
  async cutPower(script: string, afterMs: number): Promise<void> {
    const back = this.#port.nextBoot();
    const cut = `sleep ${afterMs / 1000}; echo b > /proc/sysrq-trigger`;
    this.#port.send(`(${script}) > /dev/null 2>&1 &\n${cut}\n`);
    await back;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#rollback.disposeAsync();
  }
}

export async function startSystemdNode(options: SystemdNodeOptions): Promise<SystemdNode> {
  await using rollback = new AsyncDisposableStack();
  const machine = machineOf();
  const qemu = await requireQemu(machine);
  const kernel = await fetchKernel(machine);
  const rootDisk = await makeSystemdRoot(kernel);
  const outDir = resolve(options.outDir);
  await rm(outDir, { recursive: true, force: true });
  await mkdir(outDir, { recursive: true });
  const dir = await mkdtemp(join(guestCache, "run-"));
  rollback.defer(() => rm(dir, { recursive: true, force: true }));
  const initramfs = join(dir, "initramfs");
  await Bun.write(initramfs, await makeInitramfs(machine, kernel, {}));
  const programs = join(dir, "programs.tar");
  const crib = resolve(options.crib ?? join(repositoryDir, "dist/crib"));
  const all = [
    ...(options.downloads === undefined ? [crib] : []),
    ...[parts.crictl, parts.dockerRegistry, ...(options.programs ?? [])],
  ];
  await makeProgramsDisk(programs, all, options.files ?? {}, options.downloads);
  const socket = join(dir, "agent.sock");

  const child = Bun.spawn(
    [
      ...["setpriv", "--pdeathsig", "KILL", "nice", "-n", "15", qemu],
      ...["-accel", "tcg", ...machine.options, "-smp", "1", "-m", `${memoryMib}`],
      ...["-nodefaults", "-display", "none", "-serial", "stdio"],
      ...["-kernel", kernel.image, "-initrd", initramfs],
      ...[
        "-append",
        [
          `console=${machine.console} loglevel=3 panic=-1 nowatchdog rcupdate.rcu_cpu_stall_suppress=1`,
          "systemd.show_status=0 systemd.default_timeout_start_sec=600",
          options.kernelArguments ?? "",
        ].join(" "),
      ],
      ...["-drive", `file=${rootDisk},format=raw,if=virtio,snapshot=on`],
      ...["-drive", `file=${programs},format=raw,if=virtio,readonly=on`],
      ...["-device", "virtio-serial", "-device", "virtserialport,chardev=agent,name=agent"],
      ...["-chardev", `socket,id=agent,path=${socket},server=on,wait=off`],
    ],
    { stdin: "ignore", stdout: "pipe", stderr: "pipe", env: { ...process.env, TMPDIR: dir } },
  );
  const console = followConsole(child.stdout, join(outDir, "console.log"), () => undefined);
  rollback.defer(async () => {
    child.kill("SIGKILL");
    await child.exited;
    await console;
  });
  const ended = Promise.all([child.exited, child.stderr.text()]).then(([code, text]) => {
    throw new Error(`qemu ended with ${code}: ${text.trim()}; see console.log in ${outDir}`);
  });
  ended.catch(() => undefined);
  const port = new Port(await Promise.race([connectTo(socket), ended]), options.progress);
  rollback.defer(() => port.close());
  await Promise.race([port.nextBoot(), ended]);
  const node = new SystemdNode(port, rollback.move());
  if (options.downloads !== undefined) await node.output(withoutCrib);
  return node;
}

async function connectTo(path: string): Promise<Socket> {
  for (;;) {
    const { promise, resolve: connected, reject } = Promise.withResolvers<void>();
    const socket = connect({ path });
    socket.once("connect", connected).once("error", reject);
    try {
      await promise;
      return socket;
    } catch {
      await Bun.sleep(50);
    }
  }
}

/** The host's end of the serial port on which the guest's agent listens. */
class Port {
  readonly #socket: Socket;
  readonly #progress: (line: string) => void;
  #count = 0;
  #rest = "";
  readonly #waiting = new Map<number, (output: Output) => void>();
  readonly #booted: (() => void)[] = [];

  constructor(socket: Socket, progress: (line: string) => void = () => undefined) {
    this.#socket = socket;
    this.#progress = progress;
    socket.setEncoding("latin1").on("data", (data) => this.#take(String(data)));
    socket.on("error", () => undefined);
  }

  nextBoot(): Promise<void> {
    const { promise, resolve: booted } = Promise.withResolvers<void>();
    this.#booted.push(booted);
    return promise;
  }

  send(script: string, seconds = defaultSeconds): number {
    this.#count += 1;
    this.#socket.write(`${this.#count} ${seconds} ${Buffer.from(script).toString("base64")}\n`);
    return this.#count;
  }

  async run(script: string, seconds: number): Promise<Output> {
    const { promise, resolve: done } = Promise.withResolvers<Output>();
    this.#waiting.set(this.send(script, seconds), done);
    return await promise;
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(data: string): void {
    const lines = (this.#rest + data).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#takeLine(line);
  }

  #takeLine(line: string): void {
    if (line.endsWith("up")) {
      for (const booted of this.#booted.splice(0)) booted();
      return;
    }
    const [number = "", exitCode = "", text = ""] = line.split(" ");
    const output = {
      exitCode: Number(exitCode),
      text: Buffer.from(text, "base64").toString(),
    };
    this.#progress(`${exitCode}: ${output.text}`);
    this.#waiting.get(Number(number))?.(output);
    this.#waiting.delete(Number(number));
  }
}
