import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  SecurityProfileBase_BaseType as BaseType,
  LinuxContainerSecurityContextSchema,
  SecurityProfile_ProfileType as Type,
} from "../../../gen/runtime/v1/api_pb.ts";
import { silentLog } from "../../../lib/log.ts";
import { knownCapabilities } from "../../../oci/known-capabilities.ts";
import type { SpecSeccomp } from "../../../oci/runtime-spec.ts";
import { parseBoundingSet } from "../host.ts";
import { resolveApparmor } from "./apparmor.ts";
import { resolveCapabilities } from "./capabilities.ts";
import { defaultSeccomp } from "./default-seccomp.ts";
import { hiddenPaths } from "./paths.ts";
import { resolveSeccomp } from "./seccomp.ts";
import { selinuxLabels } from "./selinux.ts";

type Init = MessageInitShape<typeof LinuxContainerSecurityContextSchema>;
const context = (init: Init) => create(LinuxContainerSecurityContextSchema, init);
const everything: ReadonlySet<string> = new Set(knownCapabilities);

describe("resolveCapabilities()", () => {
  const resolve = (capabilities: Init["capabilities"], bounding = everything, more: Init = {}) =>
    resolveCapabilities(context({ ...more, capabilities } as Init), bounding);

  test("starts from fourteen", () => {
    expect(resolveCapabilities(undefined, everything).bounding).toHaveLength(14);
    expect(resolve(undefined).inheritable).toEqual([]);
  });

  test("adds and drops in any spelling", () => {
    const { bounding } = resolve({
      addCapabilities: ["net_admin", "CAP_SYS_TIME"],
      dropCapabilities: ["cap_chown", "KILL"],
    });
    expect(bounding).toContain("CAP_NET_ADMIN");
    expect(bounding).toContain("CAP_SYS_TIME");
    expect(bounding).not.toContain("CAP_CHOWN");
    expect(bounding).not.toContain("CAP_KILL");
    expect(() => resolve({ addCapabilities: ["NET_ADMINS"] })).toThrow("unknown capability");
    expect(() => resolve({ dropCapabilities: [""] })).toThrow("unknown capability");
  });

  test("knows ALL", () => {
    expect(resolve({ dropCapabilities: ["ALL"], addCapabilities: ["chown"] }).effective).toEqual([
      "CAP_CHOWN",
    ]);
    expect(
      resolve({ addCapabilities: ["all"], dropCapabilities: ["chown"] }).bounding,
    ).toHaveLength(knownCapabilities.length - 1);
  });

  test("never gives what the daemon does not have", () => {
    const bounding = parseBoundingSet("CapBnd:\t000001fffeffffff\n");
    expect(bounding.has("CAP_SYS_RESOURCE")).toBe(false);
    expect(resolve(undefined, bounding, { privileged: true }).bounding).toHaveLength(40);
    expect(resolve({ addCapabilities: ["SYS_RESOURCE"] }, bounding).permitted).toHaveLength(14);
  });

  test("puts ambient capabilities into all sets", () => {
    const sets = resolve({ addAmbientCapabilities: ["NET_ADMIN"] });
    for (const set of Object.values(sets)) expect(set).toContain("CAP_NET_ADMIN");
    expect(sets.ambient).toEqual(["CAP_NET_ADMIN"]);
  });
});

describe("resolveSeccomp()", () => {
  const dir = mkdtempSync(`${tmpdir()}/crib-seccomp-`);
  afterAll(() => rmSync(dir, { recursive: true }));
  const host = { arch: "x64", boundingCapabilities: everything } as const;
  const ref = `registry.example/profile@sha256:${"a".repeat(64)}`;
  const pulled = `{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
    {"names":["read","mount"],"action":"SCMP_ACT_ALLOW"}]}`;
  const profiles = { read: (name: string) => (name === ref ? Buffer.from(pulled) : undefined) };
  const resolve = (init: Init) => resolveSeccomp(context(init), { host, profiles, log: silentLog });
  const localhost = async (text: string, localhostRef = `${dir}/p.json`) => {
    writeFileSync(`${dir}/p.json`, text);
    return await resolve({ seccomp: { profileType: Type.Localhost, localhostRef } });
  };

  test("gives no filter only to whom asks for none", async () => {
    expect(await resolve({})).toBeUndefined();
    expect(await resolve({ seccomp: { profileType: Type.Unconfined } })).toBeUndefined();
    expect((await resolve({ seccomp: {} }))?.defaultAction).toBe("SCMP_ACT_ERRNO");
    expect((await resolve({ seccompProfilePath: "runtime/default" }))?.defaultErrnoRet).toBe(1);
    expect(await resolve({ seccomp: {}, privileged: true })).toBeUndefined();
    await expect(resolve({ seccompProfilePath: "default" })).rejects.toThrow("seccomp profile");
  });

  test("reads a profile of the node", async () => {
    const profile = await localhost(
      `{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],"syscalls":[
        {"names":["chmod"],"action":"SCMP_ACT_ERRNO","errnoRet":2,
         "args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}],"comment":"","includes":{}}]}`,
    );
    expect(profile?.syscalls).toEqual([
      {
        names: ["chmod"],
        action: "SCMP_ACT_ERRNO",
        errnoRet: 2,
        args: [{ index: 0, value: 1, valueTwo: 0, op: "SCMP_CMP_EQ" }],
      },
    ]);
  });

  test("intersects a pulled profile with the default, or with a profile of the node", async () => {
    const oci = { profileType: Type.OCI, ociRef: ref };
    const permitted = (profile: SpecSeccomp | undefined) =>
      profile?.syscalls
        .filter(({ action }) => action === "SCMP_ACT_ALLOW")
        .flatMap((it) => it.names);
    // RuntimeDefault has no mount(2) without CAP_SYS_ADMIN.
    expect(permitted(await resolve({ seccomp: oci }))).toEqual(["read"]);
    writeFileSync(`${dir}/p.json`, `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[]}`);
    const baseProfile = { type: BaseType.Localhost, localhostRef: `${dir}/p.json` };
    expect(permitted(await resolve({ seccomp: { ...oci, baseProfile } }))).toEqual([
      "read",
      "mount",
    ]);
  });

  test("refuses an absent profile and contradictory fields", async () => {
    const refused = async (seccomp: Init["seccomp"], message: string) => {
      await expect(resolve({ seccomp })).rejects.toThrow(message);
    };
    const other = ref.replace("profile", "other");
    await refused({ profileType: Type.OCI, ociRef: other }, "was not pulled");
    await refused({ profileType: Type.OCI }, "oci_ref is missing");
    await refused({ profileType: Type.RuntimeDefault, ociRef: ref }, "the type is not OCI");
    await refused({ profileType: Type.Unconfined, baseProfile: {} }, "the type is not OCI");
    const path = { localhostRef: "/x" };
    await refused({ profileType: Type.OCI, ociRef: ref, baseProfile: path }, "its type is another");
    const local = { type: BaseType.Localhost };
    await refused({ profileType: Type.OCI, ociRef: ref, baseProfile: local }, "is missing");
    await refused(
      { profileType: Type.OCI, ociRef: ref, baseProfile: { type: 7 as BaseType } },
      "type 7",
    );
    expect(() =>
      resolveApparmor(context({ apparmor: { profileType: Type.OCI } }), { apparmor: true }),
    ).toThrow("for seccomp only");
  });

  test("decides the conditions of a profile in Docker's form", async () => {
    const rule = (name: string, conditions: object) => ({
      names: [name],
      action: "SCMP_ACT_ALLOW",
      ...conditions,
    });
    const profile = await localhost(
      JSON.stringify({
        defaultAction: "SCMP_ACT_ERRNO",
        archMap: [
          { architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86"] },
          { architecture: "SCMP_ARCH_AARCH64", subArchitectures: ["SCMP_ARCH_ARM"] },
        ],
        syscalls: [
          rule("always", {}),
          rule("chroot", { includes: { caps: ["CAP_SYS_CHROOT"] } }),
          rule("mount", { includes: { caps: ["CAP_SYS_ADMIN"] } }),
          rule("clone", { excludes: { caps: ["CAP_SYS_ADMIN"] } }),
          rule("arch_prctl", { includes: { arches: ["amd64", "x32"] } }),
          rule("set_tls", { includes: { arches: ["arm64"] } }),
          rule("ptrace", { includes: { minKernel: "4.8" } }),
          rule("future", { includes: { minKernel: "99.0" } }),
        ],
      }),
    );
    expect(profile?.architectures).toEqual(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
    expect(profile?.syscalls.flatMap(({ names }) => names)).toEqual([
      "always",
      "chroot",
      "clone",
      "arch_prctl",
      "ptrace",
    ]);
  });

  test("fails closed", async () => {
    for (const text of [
      "",
      "{",
      "{}",
      "[]",
      "null",
      '{"defaultAction":"ALLOW"}',
      '{"defaultAction":"SCMP_ACT_ERRNO","syscalls":{}}',
      '{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":[],"action":"SCMP_ACT_ALLOW"}]}',
      '{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["a"],"action":"SCMP_ACT_NOTIFY"}]}',
      '{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["a"],"action":"SCMP_ACT_ALLOW","includes":{"cap":["CAP_BPF"]}}]}',
      `{"defaultAction":"SCMP_ACT_ERRNO"}${" ".repeat(2 << 20)}`,
    ]) {
      await expect(localhost(text)).rejects.toThrow("seccomp profile");
    }
    for (const path of ["", "p.json", `${dir}/../x`, `${dir}/absent`, dir, "/dev/zero"]) {
      await expect(localhost("{}", path)).rejects.toThrow("seccomp profile");
    }
  });
});

describe("defaultSeccomp()", () => {
  const namesOf = (bounding: readonly string[]) =>
    defaultSeccomp({ bounding }, "x64").syscalls[0]?.names ?? [];

  test("opens calls with their capability", () => {
    expect(namesOf([])).not.toContain("mount");
    expect(namesOf(["CAP_SYS_ADMIN"])).toContain("mount");
    for (const name of ["io_uring_setup", "userfaultfd", "keyctl", "kexec_load", "socket"]) {
      expect(namesOf(knownCapabilities)).not.toContain(name);
    }
  });

  test("names no call twice without a condition", () => {
    const names = namesOf(knownCapabilities);
    expect(new Set(names).size).toBe(names.length);
  });

  test("allows every address family but AF_ALG and AF_VSOCK, whatever is in the upper half", () => {
    const rules = defaultSeccomp({ bounding: [] }, "x64").syscalls.filter(
      ({ names }) => names[0] === "socket",
    );
    const allows = (argument: bigint) =>
      rules.some(({ args: [arg] = [] }) => {
        const mask = BigInt(arg?.value ?? 0);
        return (argument & mask) === BigInt(arg?.valueTwo ?? 0);
      });
    for (let family = 0n; family < 256n; family++) {
      const expected = family < 48n && family !== 38n && family !== 40n;
      for (const garbage of [0n, 1n << 32n, 0xffff_ffffn << 32n]) {
        expect([family, allows(garbage | family)]).toEqual([family, expected]);
      }
    }
  });
});

describe("resolveApparmor()", () => {
  const loaded = () => "own (enforce)\nlax (complain)\n";
  const resolve = (init: Init, apparmor = true) =>
    resolveApparmor(context(init), { apparmor }, loaded);
  const localhost = (localhostRef: string) => ({
    apparmor: { profileType: Type.Localhost, localhostRef },
  });

  test("takes a loaded profile, from the new field first", () => {
    expect(resolve(localhost("localhost/own"))).toBe("own");
    expect(resolve({ apparmorProfile: "localhost/lax" })).toBe("lax");
    expect(resolve({ ...localhost("own"), apparmorProfile: "localhost/no" })).toBe("own");
    expect(resolve({ apparmorProfile: "runtime/default" })).toBeUndefined();
    expect(resolve({ ...localhost("no"), privileged: true })).toBeUndefined();
  });

  test("refuses one that is not loaded or not possible", () => {
    expect(() => resolve(localhost("absent"))).toThrow("not loaded");
    expect(() => resolve(localhost("own"), false)).toThrow("no AppArmor");
    expect(() => resolve({ apparmorProfile: "own" })).toThrow("AppArmor profile");
  });
});

test("selinuxLabels() fills in what a container leaves out, where there is SELinux", () => {
  const labels = (selinuxOptions: Init["selinuxOptions"], selinux = true) =>
    selinuxLabels(context({ selinuxOptions } as Init), { selinux });
  expect(labels({ level: "s0:c1,c2" })).toEqual({
    process: "system_u:system_r:container_t:s0:c1,c2",
    mount: "system_u:object_r:container_file_t:s0:c1,c2",
  });
  expect(labels(undefined)).toBeUndefined();
  expect(labels({ level: "s0" }, false)).toBeUndefined();
  expect(() => labels({ level: "wrong" })).toThrow("SELinux");
});

test("hiddenPaths() takes the lists of a security context as they are, empty ones too", () => {
  expect(hiddenPaths(undefined, ["/t"]).maskedPaths).toContain("/sys/firmware");
  expect(hiddenPaths(undefined, ["/t"]).maskedPaths).toContain("/t");
  expect(hiddenPaths(context({}), [])).toEqual({ maskedPaths: [], readonlyPaths: [] });
  expect(hiddenPaths(context({ maskedPaths: ["/a"] }), []).maskedPaths).toEqual(["/a"]);
});
