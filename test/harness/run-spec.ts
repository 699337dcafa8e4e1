import { chmodSync, copyFileSync, linkSync, mkdirSync, writeFileSync } from "node:fs";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { readCgroupHost } from "../../src/cgroup/host.ts";
import type { SandboxEnvironment } from "../../src/container/environment.ts";
import { findSource } from "../../src/container/source/source-role.ts";
import { buildContainerSpec } from "../../src/container/spec/build.ts";
import type { BlockIoClasses } from "../../src/container/spec/class/block-io.ts";
import { resolveClasses } from "../../src/container/spec/class/resolve.ts";
import { resolveCdi } from "../../src/container/spec/device/cdi.ts";
import { resolveDevices } from "../../src/container/spec/device/resolve.ts";
import { readSpecHost } from "../../src/container/spec/host.ts";
import { resolveMounts } from "../../src/container/spec/mount/resolve.ts";
import { resolveApparmor } from "../../src/container/spec/security/apparmor.ts";
import { resolveSeccomp } from "../../src/container/spec/security/seccomp.ts";
import { selinuxLabels } from "../../src/container/spec/security/selinux.ts";
import { resolveUser } from "../../src/container/user/user.ts";
import { ContainerConfigSchema, PodSandboxConfigSchema } from "../../src/gen/runtime/v1/api_pb.ts";
import { generateSandboxId } from "../../src/lib/id.ts";
import { silentLog } from "../../src/lib/log.ts";
import type { RuntimeSpec } from "../../src/oci/runtime-spec.ts";
import { parts } from "../parts/paths.ts";
import { findBuilt } from "./built.ts";

export type ConfigInit = MessageInitShape<typeof ContainerConfigSchema>;

/** What the built executable carries. */
export function findRunc(): string {
  return findBuilt("runc", "runc");
}

const passwd = "root:x:0:0::/root:\nalice:x:1000:1000::/home/alice:\nnobody:x:65534:65534::/:\n";
const group = "root:x:0:\nalice:x:1000:\nextra:x:50000:alice\n";

/** A root file system with every applet of busybox. */
export function makeRootfs(dir: string): string {
  const rootfs = `${dir}/rootfs`;
  for (const sub of ["bin", "etc", "proc", "sys", "dev", "tmp", "root"]) {
    mkdirSync(`${rootfs}/${sub}`, { recursive: true });
  }
  copyFileSync(parts.busybox, `${rootfs}/bin/busybox`);
  const applets = Bun.spawnSync([parts.busybox, "--list"]).stdout.toString().trim().split("\n");
  for (const applet of applets) {
    if (applet !== "busybox") linkSync(`${rootfs}/bin/busybox`, `${rootfs}/bin/${applet}`);
  }
  chmodSync(`${rootfs}/tmp`, 0o1777);
  writeFileSync(`${rootfs}/etc/passwd`, passwd);
  writeFileSync(`${rootfs}/etc/group`, group);
  return rootfs;
}

/** A pod, which may hold privileged containers, without namespaces of its own, but for what `own` says. */
export function makeEnvironment(
  dir: string,
  own: Partial<SandboxEnvironment> = {},
): SandboxEnvironment {
  for (const name of ["hostname", "hosts", "resolv.conf"]) writeFileSync(`${dir}/${name}`, name);
  mkdirSync(`${dir}/shm`, { recursive: true });
  return {
    sandboxId: generateSandboxId(),
    isReady: () => true,
    config: create(PodSandboxConfigSchema, { linux: { securityContext: { privileged: true } } }),
    handler: "",
    netns: undefined,
    ipcns: undefined,
    utsns: undefined,
    userNamespace: undefined,
    podPidns: undefined,
    targetPidns: undefined,
    hostname: "pod-a",
    hostnamePath: `${dir}/hostname`,
    hostsPath: `${dir}/hosts`,
    resolvConfPath: `${dir}/resolv.conf`,
    netDevicesPath: `${dir}/net-devices`,
    shmPath: `${dir}/shm`,
    ...own,
  };
}

/** All preparations and the spec, as CreateContainer does them. */
export async function specOf(
  init: ConfigInit,
  at: {
    readonly rootfs: string;
    readonly environment: SandboxEnvironment;
    readonly name: string;
    readonly cdiSpecDirs?: readonly string[];
    readonly blockIoClasses?: BlockIoClasses;
  },
  image: Partial<Parameters<typeof buildContainerSpec>[0]["image"]> & {
    readonly user?: string;
  } = {},
): Promise<RuntimeSpec> {
  const host = readSpecHost(readCgroupHost());
  const config = create(ContainerConfigSchema, init);
  const context = config.linux?.securityContext;
  return buildContainerSpec({
    config,
    image: { env: [], entrypoint: [], cmd: [], workingDir: "", ...image },
    rootfs: at.rootfs,
    annotations: {},
    user: resolveUser(at.rootfs, image.user ?? "", context),
    mounts: await resolveMounts(config.mounts, {
      recursiveReadOnlyMounts: true,
      idMappedMounts: at.environment.userNamespace !== undefined,
      findSource: async (path) => findSource(path),
      imageVolumes: new Map(),
    }),
    devices: await resolveDevices(config.devices, context?.privileged === true),
    cdi: await resolveCdi(
      config.CDIDevices.map(({ name }) => name),
      at.cdiSpecDirs ?? [],
      { rdtSchemata: true },
    ),
    classes: resolveClasses(config, at.environment.config, {
      blockIoClasses: at.blockIoClasses,
    }),
    seccomp: await resolveSeccomp(context, {
      host,
      profiles: { read: () => undefined },
      log: silentLog,
    }),
    apparmorProfile: resolveApparmor(context, host),
    selinux: selinuxLabels(context, host),
    environment: at.environment,
    cgroupPath: `/crib-test-${at.name}`,
    host,
  });
}

export interface RunResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** `runc run` of a spec, to its end. */
export async function runSpec(
  runc: string,
  dir: string,
  name: string,
  spec: RuntimeSpec,
): Promise<RunResult> {
  const bundle = `${dir}/${name}`;
  mkdirSync(bundle, { recursive: true });
  writeFileSync(`${bundle}/config.json`, JSON.stringify(spec));
  const child = Bun.spawn([runc, "--root", `${dir}/runc`, "run", "--bundle", bundle, name], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, exitCode] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { stdout, stderr, exitCode };
}
