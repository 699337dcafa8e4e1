import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import {
  type Image,
  jsonBlob,
  makeArtifact,
  makeIndex,
  pushImage,
} from "../harness/images/oci-image.ts";
import {
  makeSigner,
  signatureImage,
  signatureTagOf,
  signBytes,
  simplePayload,
  simpleSignature,
} from "../harness/images/signatures.ts";
import { createScript, demoImage, runPod, startScript } from "../harness/pod.ts";
import { type RegistryServer, startRegistry } from "../harness/registry-server.ts";
import { tempDir } from "../harness/temp-dir.ts";

const isRoot = process.getuid?.() === 0;
const host = "profiles.test";
const repository = "team/profile";
const type = "application/vnd.cncf.seccomp-profile.config.v1+json";
const signer = makeSigner();
const resources = new AsyncDisposableStack();
let registry: RegistryServer;
let dir: string;

const profileOf = (profile: object | string, more: { readonly config?: string } = {}): Image =>
  makeArtifact(
    [{ bytes: Buffer.from(typeof profile === "string" ? profile : JSON.stringify(profile)) }],
    { config: jsonBlob(more.config ?? type, {}) },
  );
const allBut = (...names: string[]) => ({
  defaultAction: "SCMP_ACT_ALLOW",
  syscalls: [{ names, action: "SCMP_ACT_ERRNO", errnoRet: 13 }],
});
const refOf = (image: Image, name = repository) => `${host}/${name}@${image.manifest.digest}`;

const noChmod = profileOf(allBut("chmod", "fchmod", "fchmodat", "fchmodat2"));
/** Allows what RuntimeDefault does not. */
const everything = profileOf({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [] });

beforeAll(async () => {
  if (!isRoot) return;
  dir = resources.use(tempDir("/var/tmp")).path;
  registry = resources.use(await startRegistry({ writable: true }));
  await pushImage(registry.url, repository, "no-chmod", noChmod);
  await pushImage(registry.url, repository, "everything", everything);
});
afterAll(() => resources.disposeAsync());

async function node(policy?: unknown) {
  const place = join(dir, crypto.randomUUID());
  const policyFile = join(place, "policy.json");
  mkdirSync(join(place, "certs.d", host), { recursive: true });
  writeFileSync(join(place, "certs.d", host, "hosts.toml"), `server = "${registry.url}"\n`);
  if (policy !== undefined) writeFileSync(policyFile, JSON.stringify(policy));
  const daemon = await Daemon.start({
    registryConfigDir: join(place, "certs.d"),
    demoImage: true,
    ...(policy === undefined
      ? {}
      : { images: `signature_policy_file = ${JSON.stringify(policyFile)}` }),
  });
  return { daemon, policyFile };
}

const pull = async (
  { cri }: Daemon,
  ref: string,
  profileKind: pb.SecurityProfileKind = pb.SecurityProfileKind.Seccomp,
) =>
  (
    await cri.image.pullSecurityProfile({
      image: { image: ref, userSpecifiedImage: ref },
      profileKind,
    })
  ).cached;
const list = async ({ cri }: Daemon) => (await cri.image.listSecurityProfiles({})).profiles;

async function failureOf(call: Promise<unknown>): Promise<string> {
  return await call.then(
    () => "it was taken",
    (err: { readonly code?: number; readonly rawMessage?: string }) =>
      `${err.code} ${err.rawMessage}`,
  );
}

const oci = (
  ociRef: string,
  baseProfile?: { type: pb.SecurityProfileBase_BaseType; localhostRef: string },
) => ({
  linux: {
    resources: {},
    securityContext: {
      namespaceOptions: { pid: pb.NamespaceMode.CONTAINER },
      seccomp: {
        profileType: pb.SecurityProfile_ProfileType.OCI,
        ociRef,
        ...(baseProfile === undefined ? {} : { baseProfile }),
      },
    },
  },
});

/** Exit codes of commands in a container with that profile. */
async function exitCodes(daemon: Daemon, config: ReturnType<typeof oci>, ...scripts: string[]) {
  const pod = await runPod(daemon.cri, `${daemon.root}/logs`);
  const containerId = await startScript(daemon.cri, pod, "sleep 1000", config);
  const codes: number[] = [];
  for (const script of scripts) {
    const cmd = ["/bin/sh", "-c", script];
    codes.push((await daemon.cri.runtime.execSync({ containerId, cmd })).exitCode);
  }
  return codes;
}

describe.skipIf(!isRoot)("security profiles from registries", () => {
  test("are pulled once, applied, listed apart from images, kept over restarts, and removed", async () => {
    await using daemon = (await node()).daemon;
    const ref = refOf(noChmod);
    expect(await failureOf(createScriptIn(daemon, oci(ref)))).toContain("was not pulled");
    expect(await list(daemon)).toEqual([]);

    expect(await pull(daemon, ref)).toBe(false);
    const asked = (await registry.requests()).length;
    expect(await pull(daemon, ref)).toBe(true);
    expect((await registry.requests()).length).toBe(asked);
    // The filter is the same for the container's own program and for commands in it.
    expect(
      await exitCodes(daemon, oci(ref), "touch /a", "chmod 600 /a", "mount -t tmpfs t /mnt"),
    ).toEqual([0, 1, 1]);

    const [profile] = await list(daemon);
    expect(profile?.refs).toEqual([ref]);
    expect(profile?.size).toBe(
      BigInt(JSON.stringify(allBut("chmod", "fchmod", "fchmodat", "fchmodat2")).length),
    );
    const { images } = await daemon.cri.image.listImages({});
    expect(images.flatMap(({ repoTags }) => repoTags)).toEqual([demoImage]);
    const before =
      (await daemon.cri.image.imageFsInfo({})).imageFilesystems[0]?.usedBytes?.value ?? 0n;

    await daemon.end("SIGKILL");
    await daemon.start();
    expect(await list(daemon)).toEqual([profile as pb.SecurityProfileInfo]);
    expect(await pull(daemon, ref)).toBe(true);
    expect(await exitCodes(daemon, oci(ref), "chmod 600 /bin")).toEqual([1]);

    for (const _ of [1, 2]) {
      await daemon.cri.image.removeSecurityProfile({ digest: profile?.digest ?? "" });
      expect(await list(daemon)).toEqual([]);
    }
    const after =
      (await daemon.cri.image.imageFsInfo({})).imageFilesystems[0]?.usedBytes?.value ?? 0n;
    expect(before - after).toBe(profile?.size ?? 0n);
    expect(await failureOf(createScriptIn(daemon, oci(ref)))).toContain("was not pulled");
  });

  test("permit nothing that their base does not permit", async () => {
    await using daemon = (await node()).daemon;
    const ref = refOf(everything);
    await pull(daemon, ref);
    // unshare(2) is not in RuntimeDefault.
    expect(await exitCodes(daemon, oci(ref), "unshare -u true", "chmod 700 /bin")).toEqual([1, 0]);
    const base = join(dir, "base.json");
    writeFileSync(base, JSON.stringify(allBut("chmod", "fchmod", "fchmodat", "fchmodat2")));
    const localhost = { type: pb.SecurityProfileBase_BaseType.Localhost, localhostRef: base };
    expect(await exitCodes(daemon, oci(ref, localhost), "chmod 700 /bin")).toEqual([1]);
  });

  test("that are none are refused for good, before anything of them is stored", async () => {
    await using daemon = (await node()).daemon;
    const deep = `${'{"syscalls":['.repeat(70)}${"]}".repeat(70)}`;
    const rule = { names: ["read"], action: "SCMP_ACT_ALLOW" };
    const wrong: Readonly<Record<string, Image>> = {
      "its type is": profileOf(allBut("chmod"), { config: "application/vnd.example+json" }),
      "2 layers": makeArtifact([{ bytes: Buffer.from("{}") }, { bytes: Buffer.from("[]") }], {
        config: jsonBlob(type, {}),
      }),
      "not an OCI image manifest": makeIndex([
        { image: noChmod, platform: { os: "linux", architecture: "amd64" } },
      ]),
      "not valid JSON": profileOf("no profile"),
      "deeper than 64": profileOf(deep),
      "over the limit": profileOf({
        ...allBut("chmod"),
        syscalls: [{ ...rule, names: Array(300_000).fill("read") }],
      }),
      "over 128 rules": profileOf({ ...allBut("chmod"), syscalls: Array(200).fill(rule) }),
      'unknown key "listenerPath"': profileOf({ ...allBut("chmod"), listenerPath: "/run/x" }),
      'unknown key "includes"': profileOf({
        ...allBut("chmod"),
        syscalls: [{ ...rule, includes: {} }],
      }),
      SCMP_ACT_NOTIFY: profileOf({
        ...allBut("chmod"),
        syscalls: [{ ...rule, action: "SCMP_ACT_NOTIFY" }],
      }),
      SCMP_ACT_WHATEVER: profileOf({ ...allBut("chmod"), defaultAction: "SCMP_ACT_WHATEVER" }),
      WAIT_KILLABLE: profileOf({
        ...allBut("chmod"),
        flags: ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
      }),
      "not between 0 and 4095": profileOf({ ...allBut("chmod"), defaultErrnoRet: 5000 }),
    };
    for (const [reason, image] of Object.entries(wrong)) {
      await pushImage(registry.url, "wrong", "1", image);
      const failure = await failureOf(pull(daemon, refOf(image, "wrong")));
      expect(failure).toStartWith("9 SecurityProfileInvalid: ");
      expect(failure).toContain(reason);
    }
    for (const ref of [`${host}/${repository}:no-chmod`, `profile@${noChmod.manifest.digest}`]) {
      expect(await failureOf(pull(daemon, ref))).toStartWith("3 SecurityProfileInvalid: ");
    }
    const ref = refOf(noChmod);
    const kind = await failureOf(
      pull(daemon, ref, pb.SecurityProfileKind.SecurityProfileKindUnspecified),
    );
    expect(kind).toStartWith("3 SecurityProfileInvalid: ");
    expect(await list(daemon)).toEqual([]);
    expect(readdirSync(`${daemon.root}/profiles/sha256`)).toEqual([]);
  });

  test("say which errors pass: a registry that is away, a profile that it lacks", async () => {
    await using daemon = (await node()).daemon;
    const missing = refOf(noChmod, "nobody/has-this");
    expect(await failureOf(pull(daemon, missing))).toStartWith("5 ");
    const gone = `127.0.0.1:9/profile@${noChmod.manifest.digest}`;
    expect(await failureOf(pull(daemon, gone))).toStartWith("2 RegistryUnavailable: ");
  });

  test("are subject to the signature policy, as it is at each pull", async () => {
    const accepts = { default: [{ type: "insecureAcceptAnything" }] };
    const asks = {
      default: [
        {
          type: "sigstoreSigned",
          keyData: Buffer.from(signer.pem).toString("base64"),
          signedIdentity: { type: "matchRepository" },
        },
      ],
    };
    const { daemon, policyFile } = await node(accepts);
    await using _daemon = daemon;
    const ref = refOf(noChmod);
    expect(await pull(daemon, ref)).toBe(false);
    writeFileSync(policyFile, JSON.stringify(asks));
    expect(await failureOf(pull(daemon, ref))).toStartWith("2 SignatureValidationFailed: ");
    const { digest } = noChmod.manifest;
    const payload = simplePayload(digest, `${host}/${repository}`);
    const signature = signatureImage([simpleSignature(payload, signBytes(signer, payload))]);
    await pushImage(registry.url, repository, signatureTagOf(digest), signature);
    // Asked for a signature for the first time, then never again.
    expect([await pull(daemon, ref), await pull(daemon, ref)]).toEqual([false, true]);
    writeFileSync(policyFile, JSON.stringify({ default: [{ type: "reject" }] }));
    expect(await failureOf(pull(daemon, ref))).toStartWith("2 SignatureValidationFailed: ");
  });

  test("are dropped and pulled again when the disk has damaged them", async () => {
    await using daemon = (await node()).daemon;
    const ref = refOf(noChmod);
    await pull(daemon, ref);
    await daemon.end("SIGKILL");
    const [name = ""] = readdirSync(`${daemon.root}/profiles/sha256`);
    const file = `${daemon.root}/profiles/sha256/${name}`;
    writeFileSync(file, readFileSync(file, "utf8").replace("ERRNO", "ALLOW"));
    await daemon.start();
    expect(daemon.log).toContain("security profile dropped");
    expect(await list(daemon)).toEqual([]);
    expect(await pull(daemon, ref)).toBe(false);
  });

  test("are for seccomp only, and checked before a sandbox is made", async () => {
    await using daemon = (await node()).daemon;
    const { OCI } = pb.SecurityProfile_ProfileType;
    const run = (securityContext: object) =>
      failureOf(runPod(daemon.cri, `${daemon.root}/logs`, { linux: { securityContext } }));
    const ociRef = refOf(noChmod);
    expect(await run({ apparmor: { profileType: OCI, ociRef } })).toStartWith("3 ");
    expect(await run({ seccomp: { profileType: OCI, ociRef } })).toContain("was not pulled");
    expect((await daemon.cri.runtime.listPodSandbox({})).items).toEqual([]);
    const { features } = await daemon.cri.runtime.status({});
    expect(features?.seccompProfileOci).toBe(true);
  });
});

async function createScriptIn(daemon: Daemon, config: ReturnType<typeof oci>): Promise<string> {
  const pod = await runPod(daemon.cri, `${daemon.root}/logs`);
  return await createScript(daemon.cri, pod, "true", config);
}
