import { mkdtempSync, rmSync } from "node:fs";
import { connectCri } from "../../test/harness/cri.ts";
import { eventually } from "../../test/harness/eventually.ts";
import { dataDir } from "../../test/harness/payload.ts";
import type { Program } from "./debian.ts";

export interface RunningRuntime extends AsyncDisposable {
  /** All that it does is done by this process and its descendants. */
  readonly pid: number;
  /** Until the image can be used. */
  pull(image: string): Promise<unknown>;
}

export interface PullRuntime {
  readonly name: string;
  /** One of its own with everything below `root`, where nothing is yet. */
  start(root: string, registryHost: string): Promise<RunningRuntime>;
}

export function crib(executable: string): PullRuntime {
  return {
    name: "crib",
    start: (root, registryHost) =>
      startDaemon((state, socket) => {
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

/** As it is shipped, with nothing set but places and that the registry speaks http. */
export function containerd({ name, argv, path }: Program): PullRuntime {
  return {
    name,
    start: (root, registryHost) =>
      startDaemon((state, socket) => ({
        files: {
          [`${root}/config.toml`]: [
            "version = 2",
            `root = "${root}/containerd"`,
            `state = "${state}/containerd"`,
            `[grpc]\naddress = "${socket}"`,
            `[plugins."io.containerd.internal.v1.opt"]\npath = "${root}/opt"`,
            `[plugins."io.containerd.nri.v1.nri"]\ndisable = true`,
            `[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "${root}/certs.d"`,
          ].join("\n"),
          ...mirrorFile(root, registryHost),
        },
        argv: [...argv, "--config", `${root}/config.toml`],
        env: { PATH: `${path}:${process.env["PATH"]}` },
      })),
  };
}

/** skopeo copies the image to a layout, umoci unpacks that: what one does without a daemon. */
export function skopeoAndUmoci(): PullRuntime {
  const script = `read image
    skopeo --insecure-policy copy -q --src-tls-verify=false docker://$image oci:layout:1 &&
    umoci unpack --image layout:1 bundle && echo done
    read end`;
  return {
    name: "skopeo + umoci",
    async start(root) {
      const log = `${root}/log`;
      const child = Bun.spawn(["setpriv", "--pdeathsig", "KILL", "sh", "-c", script], {
        cwd: root,
        stdio: ["pipe", "pipe", Bun.file(log)],
      });
      const answers = child.stdout.values();
      return {
        pid: child.pid,
        async pull(image) {
          child.stdin.write(`${image}\n`);
          await child.stdin.flush();
          const { done } = await answers.next();
          if (done === true) throw new Error(`skopeo, umoci: ${await Bun.file(log).text()}`);
        },
        [Symbol.asyncDispose]: async () => {
          child.kill("SIGKILL");
          await child.exited;
        },
      };
    },
  };
}

/** crib and containerd read the same file. */
function mirrorFile(root: string, host: string): Readonly<Record<string, string>> {
  return { [`${root}/certs.d/${host}/hosts.toml`]: `[host."http://${host}"]\n` };
}

interface Start {
  readonly files: Readonly<Record<string, string>>;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

async function startDaemon(
  describe: (state: string, socket: string) => Start,
): Promise<RunningRuntime> {
  await using rollback = new AsyncDisposableStack();
  const state = mkdtempSync("/run/crib-bench-");
  rollback.defer(() => rmSync(state, { recursive: true, force: true }));
  const socket = `${state}/cri.sock`;
  const { files, argv, env } = describe(state, socket);
  for (const [path, text] of Object.entries(files)) await Bun.write(path, text);
  const log = `${state}/log`;
  const child = Bun.spawn(["setpriv", "--pdeathsig", "KILL", ...argv], {
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdio: ["ignore", Bun.file(`${log}.out`), Bun.file(log)],
  });
  rollback.defer(async () => {
    child.kill("SIGTERM");
    await child.exited;
  });
  const cri = connectCri(socket);
  try {
    await eventually(() => cri.image.listImages({}), 30_000);
  } catch (cause) {
    throw new Error(`${argv[0]} does not answer:\n${await Bun.file(log).text()}`, { cause });
  }
  const resources = rollback.move();
  return {
    pid: child.pid,
    pull: (image) => cri.image.pullImage({ image: { image } }),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
