import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Cri, connectCri } from "../../test/harness/cri.ts";
import { eventually } from "../../test/harness/eventually.ts";
import { dataDir } from "../../test/harness/payload.ts";
import { repositoryDir } from "../../test/parts/paths.ts";

export interface RunningRuntime extends AsyncDisposable {
  readonly pid: number;
  readonly cri: Cri;
}

export interface PullRuntime {
  readonly name: string;
  /** A daemon of its own with everything below `root`, where nothing is yet. */
  start(root: string, registryHost: string): Promise<RunningRuntime>;
}

export function crib(executable: string): PullRuntime {
  return {
    name: "crib",
    start: (root, registryHost) =>
      start((state, socket) => {
        const config = `${root}/config.toml`;
        return {
          files: {
            [config]: `[images]\nregistry_config_dirs = ["${root}/certs.d"]\n`,
            ...mirrorFile(root, registryHost),
          },
          argv: [
            ...[executable, "serve", `--config=${config}`, `--root=${root}/crib`],
            ...[`--state=${state}`, `--listen=unix://${socket}`],
          ],
          env: { CRIB_DATA: dataDir },
        };
      }),
  };
}

/** `containerd` as it is shipped, with nothing set but places and that the registry speaks http. */
export function containerd(executable: string): PullRuntime {
  return {
    name: "containerd",
    start: (root, registryHost) =>
      start((state, socket) => ({
        files: {
          [`${root}/config.toml`]: [
            "version = 2",
            `root = "${root}/containerd"`,
            `state = "${state}/containerd"`,
            `[grpc]\naddress = "${socket}"`,
            `[plugins."io.containerd.internal.v1.opt"]\npath = "${root}/opt"`,
            `[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "${root}/certs.d"`,
          ].join("\n"),
          ...mirrorFile(root, registryHost),
        },
        argv: [executable, "--config", `${root}/config.toml`],
        env: {},
      })),
  };
}

/** Both read the same file. */
function mirrorFile(root: string, host: string): Readonly<Record<string, string>> {
  return { [`${root}/certs.d/${host}/hosts.toml`]: `[host."http://${host}"]\n` };
}

/** Debian's containerd, unpacked and not installed. */
export function debianContainerd(): string {
  const dir = join(repositoryDir, ".cache/bench/containerd");
  const executable = `${dir}/usr/bin/containerd`;
  if (existsSync(executable)) return executable;
  mkdirSync(dir, { recursive: true });
  const script = `apt-get download -q -o APT::Sandbox::User=root containerd && dpkg-deb -x containerd_*.deb . && rm *.deb`;
  const { exitCode, stderr } = Bun.spawnSync(["sh", "-ec", script], { cwd: dir, stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`download containerd: ${stderr.toString()}`);
  return executable;
}

interface Start {
  readonly files: Readonly<Record<string, string>>;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

async function start(describe: (state: string, socket: string) => Start): Promise<RunningRuntime> {
  await using undo = new AsyncDisposableStack();
  const state = mkdtempSync("/run/crib-bench-");
  undo.defer(() => rmSync(state, { recursive: true, force: true }));
  const socket = `${state}/cri.sock`;
  const { files, argv, env } = describe(state, socket);
  for (const [path, text] of Object.entries(files)) await Bun.write(path, text);
  const log = `${state}/log`;
  const child = Bun.spawn(["setpriv", "--pdeathsig", "KILL", ...argv], {
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdio: ["ignore", Bun.file(`${log}.out`), Bun.file(log)],
  });
  undo.defer(async () => {
    child.kill("SIGTERM");
    await child.exited;
  });
  const cri = connectCri(socket);
  try {
    await eventually(() => cri.image.listImages({}), 30_000);
  } catch (cause) {
    throw new Error(`${argv[0]} does not answer:\n${await Bun.file(log).text()}`, { cause });
  }
  const resources = undo.move();
  return { pid: child.pid, cri, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}
