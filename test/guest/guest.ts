import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { repositoryDir } from "../parts/paths.ts";
import { run } from "../parts/run.ts";
import { makeDataDisk, makeInitramfs, makeRawDisk, makeRootDisk } from "./disks.ts";
import { machineOf } from "./machine.ts";
import { fetchKernel, guestCache, requireQemu } from "./packages.ts";

export interface GuestOptions {
  /** What the node runs as root once it is up, for busybox's shell. `start-crib` and `cut-power` are there. */
  readonly script: string;
  /** Texts that it finds in /run/guest. */
  readonly files?: Readonly<Record<string, string>>;
  /** Disk with /var/lib, from `makeDataDisk`; an empty one unless it says another. */
  readonly dataDisk?: string;
  /** The guest's processor, amd64 or arm64; this machine's unless it says another. */
  readonly arch?: string;
  /** The executable to put into the guest; the one that is built for it unless it says another. */
  readonly crib?: string;
  /** Filled with what the guest left in /run/results, and `console.log`. Emptied before. */
  readonly outDir: string;
  /** After this long the guest is ended and the answer is an error. */
  readonly timeoutMs: number;
  readonly progress?: (line: string) => void;
}

export interface GuestResult {
  /** The script's; `undefined` when it cut the power. */
  readonly exitCode: number | undefined;
  /** From the start of the emulator until the node was up. */
  readonly bootMs: number;
  readonly totalMs: number;
}

const processors = 2;
const memoryMib = 2048;

/**
 * Boots a virtual machine with Debian's kernel, emulated so that it needs no KVM, and runs a script in it. Comes back
 * when the machine is off: because the script has ended, or because it cut the power.
 */
export async function runGuest(options: GuestOptions): Promise<GuestResult> {
  await using rollback = new AsyncDisposableStack();
  const machine = machineOf(options.arch);
  const qemu = await requireQemu(machine);
  const kernel = await fetchKernel(machine);
  const rootDisk = await makeRootDisk(
    machine,
    kernel,
    resolve(options.crib ?? join(repositoryDir, `dist/crib${machine.target.suffix}`)),
  );
  const outDir = resolve(options.outDir);
  await rm(outDir, { recursive: true, force: true });
  await mkdir(outDir, { recursive: true });

  const dir = await mkdtemp(join(guestCache, "run-"));
  rollback.defer(() => rm(dir, { recursive: true, force: true }));
  const initramfs = join(dir, "initramfs");
  await Bun.write(
    initramfs,
    await makeInitramfs(machine, kernel, { ...options.files, script: options.script }),
  );
  const resultDisk = join(dir, "results.img");
  await makeRawDisk(resultDisk);
  const dataDisk = options.dataDisk ?? join(dir, "data.img");
  if (options.dataDisk === undefined) await makeDataDisk(dataDisk);

  const started = performance.now();
  const child = Bun.spawn(
    [
      // A guest takes minutes of both processors; whoever works on this machine goes first.
      ...["setpriv", "--pdeathsig", "KILL", "nice", "-n", "10", qemu],
      ...["-accel", "tcg,thread=multi", ...machine.options],
      ...["-smp", `${processors}`, "-m", `${memoryMib}`],
      ...["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"],
      ...["-kernel", kernel.image, "-initrd", initramfs],
      // Emulated processors share their clock: what looks like a lock-up is the host's other work.
      ...[
        "-append",
        `console=${machine.console} loglevel=4 panic=-1 nowatchdog rcupdate.rcu_cpu_stall_suppress=1`,
      ],
      ...["-drive", `file=${rootDisk},format=raw,if=virtio,readonly=on`],
      ...["-drive", `file=${resultDisk},format=raw,if=virtio`],
      ...["-drive", `file=${dataDisk},format=raw,if=virtio`],
    ],
    { stdin: "ignore", stdout: "pipe", stderr: "pipe" },
  );
  const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs);
  rollback.defer(() => clearTimeout(timer));
  let bootMs: number | undefined;
  const console = followConsole(child.stdout, join(outDir, "console.log"), (line) => {
    if (line === "guest: up") bootMs = performance.now() - started;
    options.progress?.(line);
  });
  const [, complaints, code] = await Promise.all([console, child.stderr.text(), child.exited]);
  const totalMs = performance.now() - started;

  const fail = (why: string) =>
    new Error(`guest: ${why} after ${Math.round(totalMs / 1000)} s; see console.log in ${outDir}`);
  if (child.signalCode === "SIGKILL") throw fail(`still running`);
  if (code !== 0) throw fail(`qemu: exit code ${code}: ${complaints.trim()}`);
  if (bootMs === undefined) throw fail("it did not come up");
  await run(["tar", "-xf", resultDisk, "-C", outDir]);
  const exitCode = Bun.file(join(outDir, "exit-code"));
  return {
    exitCode: (await exitCode.exists()) ? Number(await exitCode.text()) : undefined,
    bootMs,
    totalMs,
  };
}

/** Keeps what the machine says in a file. */
export async function followConsole(
  stream: ReadableStream<Uint8Array>,
  file: string,
  onLine: (line: string) => void,
): Promise<void> {
  const log = Bun.file(file).writer();
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    log.write(chunk);
    await log.flush();
    const lines = (rest + decoder.decode(chunk, { stream: true })).split(/\r*\n/u);
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  }
  await log.end();
}
