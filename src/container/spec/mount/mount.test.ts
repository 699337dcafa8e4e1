import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { MountPropagation, MountSchema } from "../../../gen/runtime/v1/api_pb.ts";
import { kindOf, reasonOf } from "../../../lib/errors.ts";
import { MountSources } from "../../source/mount-sources.ts";
import { rootfsPropagation, specMounts } from "./mounts.ts";
import { resolveMounts } from "./resolve.ts";
import { checkSharing, holdingMount } from "./sharing.ts";

const dir = realpathSync(mkdtempSync(`${tmpdir()}/crib-mount-`));
afterAll(() => rmSync(dir, { recursive: true }));

const podEnvironment = {
  hostnamePath: "/h",
  hostsPath: "/o",
  resolvConfPath: "/r",
  shmPath: "/s",
  netns: "/ns/net",
  userNamespace: undefined,
};
const main = `${import.meta.dir}/../../../main.ts`;
const sources = new MountSources([process.execPath, main, "source"]);
const able = {
  recursiveReadOnlyMounts: true,
  idMappedMounts: true,
  findSource: (path: string) => sources.find(path),
  imageVolumes: new Map(),
};
async function resolveOne(init: MessageInitShape<typeof MountSchema>, features = able) {
  const base = { hostPath: dir, containerPath: "/data" };
  const [mount] = await resolveMounts([create(MountSchema, { ...base, ...init })], features);
  if (mount === undefined) throw new TypeError("no mount");
  return mount;
}

async function failure(init: MessageInitShape<typeof MountSchema>, features = able) {
  return await resolveOne(init, features).then(
    () => expect.unreachable(),
    (err: unknown) => err,
  );
}

describe("resolveMounts()", () => {
  test("follows links of the node and makes missing directories", async () => {
    mkdirSync(`${dir}/real`);
    writeFileSync(`${dir}/real/file`, "");
    symlinkSync("real", `${dir}/link`);
    expect((await resolveOne({ hostPath: `${dir}/link/file` })).source).toBe(`${dir}/real/file`);
    expect((await resolveOne({ hostPath: `${dir}/link/new/deep` })).source).toBe(
      `${dir}/real/new/deep`,
    );
    const below = await failure({ hostPath: `${dir}/real/file/x` });
    expect(kindOf(below)).toBe("failed-precondition");
    symlinkSync("nowhere", `${dir}/dangling`);
    expect(kindOf(await failure({ hostPath: `${dir}/dangling` }))).toBe("failed-precondition");
  });

  test("turns access and options into mount options", async () => {
    expect((await resolveOne({})).options).toEqual(["rbind", "rprivate", "rw"]);
    expect((await resolveOne({ readonly: true, mountOptions: ["noexec"] })).options).toEqual([
      "rbind",
      "rprivate",
      "ro",
      "noexec",
    ]);
    const recursive = { readonly: true, recursiveReadOnly: true };
    expect((await resolveOne(recursive)).options).toEqual(["rbind", "rprivate", "rro"]);
    expect((await resolveOne({ containerPath: "/a/../b//c/" })).destination).toBe("/b/c");
  });

  test("maps ids where the pod has a user namespace", async () => {
    const range = { containerId: 0, hostId: 100_000, length: 65_536 };
    const mapped = { uidMappings: [range], gidMappings: [{ ...range, hostId: 200_000 }] };
    const mount = await resolveOne(mapped);
    expect(mount.options).toEqual(["rbind", "rprivate", "rw", "idmap"]);
    const mounts = specMounts({
      mounts: [mount],
      environment: podEnvironment,
      privileged: false,
      writableCgroup: false,
      readonlyRootfs: false,
    });
    expect(mounts.find(({ destination }) => destination === "/data")).toMatchObject({
      uidMappings: [{ containerID: 0, hostID: 100_000, size: 65_536 }],
      gidMappings: [{ containerID: 0, hostID: 200_000, size: 65_536 }],
    });
    const unable = await failure(mapped, { ...able, idMappedMounts: false });
    expect(kindOf(unable)).toBe("failed-precondition");
    for (const wrong of [
      { uidMappings: [range] },
      { ...mapped, gidMappings: [{ ...range, length: 0 }] },
      { ...mapped, gidMappings: [{ ...range, hostId: 4_294_967_295 }] },
      { ...mapped, uidMappings: Array.from({ length: 341 }, () => range) },
    ]) {
      expect(kindOf(await failure(wrong))).toBe("invalid-argument");
    }
  });

  test("mounts an image read-only, without devices and setuid bits", async () => {
    const init = { image: { image: "x" }, containerPath: "/i", mountOptions: ["noexec"] };
    const mount = create(MountSchema, init);
    const imageVolumes = new Map([[mount, { source: "/run/image" }]]);
    expect(await resolveMounts([mount], { ...able, imageVolumes })).toEqual([
      {
        destination: "/i",
        source: "/run/image",
        propagation: "rprivate",
        options: ["rbind", "rprivate", "ro", "nosuid", "nodev", "noexec"],
      },
    ]);
  });

  test("refuses recursive read-only mounts that would not be", async () => {
    const recursive = { readonly: true, recursiveReadOnly: true };
    expect(kindOf(await failure({ recursiveReadOnly: true }))).toBe("invalid-argument");
    for (const propagation of [
      MountPropagation.PROPAGATION_HOST_TO_CONTAINER,
      MountPropagation.PROPAGATION_BIDIRECTIONAL,
    ]) {
      expect(kindOf(await failure({ ...recursive, propagation }))).toBe("invalid-argument");
    }
    const unable = await failure(recursive, { ...able, recursiveReadOnlyMounts: false });
    expect(reasonOf(unable)).toBe("RROUnsupported");
  });

  test("refuses paths and options that make no sense", async () => {
    for (const init of [
      { containerPath: "data" },
      { containerPath: "/" },
      { containerPath: "/a/.." },
      { containerPath: "" },
      { hostPath: "data" },
      { hostPath: "" },
      { hostPath: "/a\0b" },
      { hostPath: `/${"x".repeat(5000)}` },
      { mountOptions: ["bind"] },
      { mountOptions: ["size=1"] },
      { propagation: 7 as MountPropagation },
    ]) {
      expect(kindOf(await failure(init))).toBe("invalid-argument");
    }
  });
});

const mountinfo = [
  "22 1 8:1 / / rw,relatime - ext4 /dev/sda rw",
  "30 22 0:5 / /mnt/a\\040b rw shared:7 - tmpfs t rw",
  "31 22 0:6 / /mnt/slave rw master:3 - tmpfs t rw",
  "32 22 0:7 / /mnt/both rw shared:2 master:3 - tmpfs t rw",
  "33 32 0:8 / /mnt/both rw - tmpfs over rw",
].join("\n");

test("holdingMount() finds the innermost mount, the last of several", () => {
  expect(holdingMount(mountinfo, "/mnt/a b/c")).toMatchObject({ shared: true, slave: false });
  expect(holdingMount(mountinfo, "/mnt/a bc")?.mountPoint).toBe("/");
  expect(holdingMount(mountinfo, "/mnt/both/x")).toMatchObject({ shared: false, slave: false });
});

test("checkSharing() asks for a shared mount, or a slave to receive only", () => {
  const check = (path: string, propagation: "rprivate" | "rslave" | "rshared") => () =>
    checkSharing(path, propagation, mountinfo);
  check("/etc", "rprivate")();
  check("/mnt/a b", "rshared")();
  check("/mnt/slave/x", "rslave")();
  expect(check("/mnt/slave/x", "rshared")).toThrow("/mnt/slave, which is not shared");
  expect(check("/etc", "rslave")).toThrow("not shared or slave");
});

describe("specMounts()", () => {
  const environment = podEnvironment;
  const at = (...paths: string[]) =>
    specMounts({
      mounts: paths.map((destination) => ({
        destination,
        source: "/src",
        propagation: "rprivate" as const,
        options: [],
      })),
      environment,
      privileged: false,
      writableCgroup: false,
      readonlyRootfs: false,
    });

  test("puts parents before children and lets the container replace", () => {
    const mounts = at("/etc/hosts", "/etc", "/dev/shm");
    const destinations = mounts.map((mount) => mount.destination);
    expect(destinations.indexOf("/etc")).toBeLessThan(destinations.indexOf("/etc/hosts"));
    expect(destinations.filter((path) => path === "/etc/hosts")).toHaveLength(1);
    expect(mounts.find(({ destination }) => destination === "/dev/shm")?.source).toBe("/src");
  });

  test("binds the node's sysfs where a user namespace does not own the network", () => {
    const ids = { hostId: 100_000, length: 65_536 };
    const userNamespace = { path: "/ns/user", ids: { uids: ids, gids: ids } };
    const sysOf = (own: Partial<typeof podEnvironment> | object) => {
      const pod = { ...environment, ...own };
      const access = { privileged: false, writableCgroup: false, readonlyRootfs: false };
      return specMounts({ mounts: [], environment: pod, ...access }).find(
        ({ destination }) => destination === "/sys",
      );
    };
    expect(sysOf({ userNamespace })?.type).toBe("sysfs");
    expect(sysOf({ netns: undefined })?.type).toBe("sysfs");
    const bound = sysOf({ netns: undefined, userNamespace });
    expect(bound).toMatchObject({ type: "bind", source: "/sys" });
    expect(bound?.options).toContain("rro");
  });

  test("mounts nothing of the kernel's over a tree of the container", () => {
    const destinations = at("/dev", "/sys").map((mount) => mount.destination);
    expect(destinations).not.toContain("/dev/pts");
    expect(destinations).not.toContain("/sys/fs/cgroup");
    expect(destinations.filter((path) => path === "/dev")).toHaveLength(1);
  });
});

test("rootfsPropagation() is the widest that a mount needs", () => {
  const mount = { destination: "/a", source: "/a", options: [] };
  const of = (...kinds: ("rprivate" | "rslave" | "rshared")[]) =>
    rootfsPropagation(kinds.map((propagation) => ({ ...mount, propagation })));
  expect(of("rprivate")).toBeUndefined();
  expect(of("rprivate", "rslave")).toBe("rslave");
  expect(of("rshared", "rslave")).toBe("rshared");
});
