import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { hasDelegation } from "../../src/container/spec/host.ts";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { createScript, type Pod, runPod, startScript } from "../harness/pod.ts";

const isRoot = process.getuid?.() === 0;
const canDelegate = isRoot && hasDelegation(readFileSync("/proc/self/mounts", "latin1"));
const { POD, CONTAINER, NODE, TARGET } = pb.NamespaceMode;
const modes = { absent: undefined, POD, CONTAINER, NODE, TARGET } as const;
const mounts = {
  absent: pb.CgroupMountMode.UNSPECIFIED,
  "read-only": pb.CgroupMountMode.READ_ONLY,
  "read-write": pb.CgroupMountMode.READ_WRITE,
} as const;

interface Case {
  readonly mode: keyof typeof modes;
  readonly mount: keyof typeof mounts;
  readonly privileged: boolean;
}

const cases: readonly Case[] = Object.keys(modes).flatMap((mode) =>
  Object.keys(mounts).flatMap((mount) =>
    [false, true].map((privileged) => ({ mode, mount, privileged }) as Case),
  ),
);

/** What CRI's comments say of CgroupNamespace and CgroupMountMode: a gRPC code, or what the container sees. */
function expected({ mode, mount, privileged }: Case, isV2: boolean) {
  const owns = mode === "CONTAINER" || (mode === "absent" && isV2 && !privileged);
  if (mode === "POD" || mode === "TARGET") return 3;
  if (mount === "read-only" && privileged) return 3;
  if (mount === "read-write" && !privileged && !owns) return 3;
  if (mount === "read-write" && !canDelegate) return 9;
  return { owns, writable: privileged || mount === "read-write" };
}

describe.skipIf(!isRoot)("cgroup namespaces and mounts", () => {
  let daemon: Daemon;
  let pods: Readonly<Record<"privileged" | "ordinary", Pod>>;
  const namespaceOptions = { pid: CONTAINER };

  beforeAll(async () => {
    daemon = await Daemon.start({ demoImage: true });
    const run = (privileged: boolean) =>
      runPod(daemon.cri, `${daemon.root}/logs`, {
        linux: { securityContext: { privileged, namespaceOptions } },
      });
    pods = { privileged: await run(true), ordinary: await run(false) };
  });
  afterAll(() => daemon[Symbol.asyncDispose]());

  const configOf = ({ mode, mount, privileged }: Case) => ({
    linux: {
      resources: {},
      securityContext: {
        privileged,
        cgroupMountMode: mounts[mount],
        namespaceOptions:
          modes[mode] === undefined
            ? namespaceOptions
            : { ...namespaceOptions, cgroupnsOptions: { mode: modes[mode] } },
      },
    },
  });

  for (const one of cases) {
    const { mode, mount, privileged } = one;
    const whose = privileged ? "a privileged container" : "a container";
    test(`${whose} with namespace ${mode} and mount ${mount}`, async () => {
      const isV2 = existsSync("/sys/fs/cgroup/cgroup.controllers");
      const pod = privileged ? pods.privileged : pods.ordinary;
      const wanted = expected(one, isV2);
      const config = configOf(one);
      if (typeof wanted === "number") {
        const refusal = await createScript(daemon.cri, pod, "true", config).then(
          () => "it was made",
          (err: { readonly code?: number }) => err.code,
        );
        expect(refusal).toBe(wanted);
        return;
      }
      const containerId = await startScript(daemon.cri, pod, "sleep 1000", config);
      const script = "cat /proc/self/cgroup; grep ' /sys/fs/cgroup' /proc/self/mounts";
      const run = await daemon.cri.runtime.execSync({ containerId, cmd: ["sh", "-c", script] });
      const text = Buffer.from(run.stdout).toString();
      const paths = [...text.matchAll(/^\d+:[^:]+:(\/.*)$/gm)].map(([, path]) => path ?? "");
      expect(paths.length).toBeGreaterThan(0);
      const sees = paths.filter((path) => path.includes(containerId));
      expect(sees.length > 0).toBe(!wanted.owns);
      const access = [...text.matchAll(/ cgroup2? (ro|rw),/g)].map(([, word]) => word ?? "");
      expect(new Set(access)).toEqual(new Set([wanted.writable ? "rw" : "ro"]));
    });
  }

  test("are said in Status", async () => {
    const { runtimeHandlers, features } = await daemon.cri.runtime.status({});
    expect(features?.cgroupMountMode).toBe(true);
    const handlers = runtimeHandlers.map(({ name, features: own }) => [
      name,
      own?.cgroupNamespaces,
    ]);
    expect(handlers).toContainEqual(["runc", true]);
  });

  test("have no place in a sandbox", async () => {
    const refused = runPod(daemon.cri, `${daemon.root}/logs`, {
      linux: {
        securityContext: {
          namespaceOptions: { ...namespaceOptions, cgroupnsOptions: { mode: CONTAINER } },
        },
      },
    });
    expect(await refused.catch((err: { readonly code?: number }) => err.code)).toBe(3);
  });
});
