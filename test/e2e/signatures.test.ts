import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { type Image, makeImage, makeLayer, pushImage } from "../harness/images/oci-image.ts";
import {
  makeSigner,
  signatureImage,
  signatureTagOf,
  signBytes,
  simplePayload,
  simpleSignature,
} from "../harness/images/signatures.ts";
import { packTar } from "../harness/images/tar.ts";
import { executable, payloadDir } from "../harness/payload.ts";
import { demoImage } from "../harness/pod.ts";
import { type RegistryServer, startRegistry } from "../harness/registry-server.ts";
import { tempDir } from "../harness/temp-dir.ts";

const isRoot = process.getuid?.() === 0;
const host = "images.test";
const signer = makeSigner();
const resources = new AsyncDisposableStack();
let registry: RegistryServer;
let dir: string;

function imageOf(text: string): Image {
  const data = Buffer.from(text);
  return makeImage([makeLayer(packTar([{ type: "file", path: "a", data }]), "gzip")], {});
}

async function push(repository: string, image: Image, isSigned: boolean, url = registry.url) {
  await pushImage(url, repository, "1", image);
  if (!isSigned) return;
  const { digest } = image.manifest;
  const payload = simplePayload(digest, `${host}/${repository}`);
  const signature = signatureImage([simpleSignature(payload, signBytes(signer, payload))]);
  await pushImage(url, repository, signatureTagOf(digest), signature);
}

const signed = imageOf("signed");
const unsigned = imageOf("unsigned");

beforeAll(async () => {
  if (!isRoot) return;
  dir = resources.use(tempDir("/var/tmp")).path;
  registry = resources.use(await startRegistry({ writable: true }));
  await push("team/signed", signed, true);
  await push("team/unsigned", unsigned, false);
});
afterAll(() => resources.disposeAsync());

const signedBy = (pem = signer.pem) => ({
  type: "sigstoreSigned",
  keyData: Buffer.from(pem).toString("base64"),
  signedIdentity: { type: "matchRepository" },
});
const asks = { default: [signedBy()] };

/** A node with that policy, and the URLs it has images of `images.test` from. */
async function node(
  policy: unknown,
  more: { readonly urls?: readonly string[]; readonly config?: string } = {},
) {
  const place = join(dir, crypto.randomUUID());
  const policyFile = join(place, "policy.json");
  mkdirSync(join(place, "certs.d", host), { recursive: true });
  writeFileSync(policyFile, JSON.stringify(policy));
  const [first = "", ...others] = more.urls ?? [registry.url];
  const mirrors = others.map((url) => `[host."${url}"]\n`).join("");
  writeFileSync(join(place, "certs.d", host, "hosts.toml"), `server = "${first}"\n${mirrors}`);
  const daemon = await Daemon.start({
    registryConfigDir: join(place, "certs.d"),
    images: `signature_policy_file = ${JSON.stringify(policyFile)}`,
    config: more.config ?? "",
  });
  return { daemon, policyFile };
}

const images = (daemon: Daemon) => daemon.cri.image;
const statusOf = async (daemon: Daemon, image: string) =>
  (await images(daemon).imageStatus({ image: { image } })).image;

async function failureOf(daemon: Daemon, image: string): Promise<string> {
  return await images(daemon)
    .pullImage({ image: { image } })
    .then(
      () => "it was let in",
      (err: { readonly code?: number; readonly rawMessage?: string }) =>
        `${err.code} ${err.rawMessage}`,
    );
}

async function refusalOf(daemon: Daemon, image: string): Promise<string> {
  const failure = await failureOf(daemon, image);
  expect(await statusOf(daemon, image)).toBeUndefined();
  return failure;
}

const isEmpty = (daemon: Daemon) => {
  expect(readdirSync(join(daemon.root, "snapshots", "layers"))).toEqual([]);
  expect(readdirSync(join(daemon.root, "content", "sha256"))).toEqual([]);
};

test.skipIf(!isRoot)(
  "a signed image is pulled, an unsigned one is refused and nothing of it stays",
  async () => {
    const { daemon, policyFile } = await node(asks);
    await using _daemon = daemon;
    const name = `${host}/team/unsigned:1`;
    // 2 is UNKNOWN: the code with which the kubelet sees the words.
    expect(await refusalOf(daemon, name)).toBe(
      `2 SignatureValidationFailed: pull ${name}: ${unsigned.manifest.digest} is refused by ${policyFile} (default): it has no signature`,
    );
    isEmpty(daemon);
    const { imageRef } = await images(daemon).pullImage({
      image: { image: `${host}/team/signed:1` },
    });
    expect((await statusOf(daemon, `${host}/team/signed:1`))?.id).toBe(imageRef);

    writeFileSync(policyFile, JSON.stringify({ default: [signedBy(makeSigner().pem)] }));
    // What is there stays, and runs; a pull asks anew.
    expect(await failureOf(daemon, `${host}/team/signed:1`)).toContain("not by the policy's key");
    expect((await statusOf(daemon, `${host}/team/signed:1`))?.id).toBe(imageRef);
    renameSync(policyFile, `${policyFile}.old`);
    expect(await refusalOf(daemon, name)).toContain(
      `2 SignatureValidationFailed: pull ${name}: signature policy`,
    );
    writeFileSync(policyFile, "{}");
    expect(await refusalOf(daemon, name)).toContain("default: not an array");
    writeFileSync(policyFile, JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));
    await images(daemon).pullImage({ image: { image: name } });
  },
);

test.skipIf(!isRoot)("an image from a mirror is asked for its signature too", async () => {
  await using mirror = await startRegistry({ writable: true });
  const forged = imageOf("what the mirror says it is");
  await push("team/signed", forged, false, mirror.url);
  await push("team/mirrored", signed, true, mirror.url);
  const { daemon } = await node(asks, { urls: [registry.url, mirror.url] });
  await using _daemon = daemon;
  expect(await refusalOf(daemon, `${host}/team/signed:1`)).toContain("it has no signature");
  isEmpty(daemon);
  await images(daemon).pullImage({ image: { image: `${host}/team/mirrored:1` } });
});

test.skipIf(!isRoot)(
  "archives are imported only when the policy lets their images in",
  async () => {
    const { daemon, policyFile } = await node(asks);
    await using _daemon = daemon;
    const demo = `${payloadDir()}/demo.tar`;
    const file = join(daemon.root, "images", "demo.tar");
    copyFileSync(demo, join(dir, "copy.tar"));
    renameSync(join(dir, "copy.tar"), file);
    await eventually(() => {
      expect(daemon.log).toContain(`import ${file}: ${demoImage}: sha256:`);
      expect(daemon.log).toContain("it has no signature");
    });
    expect(await statusOf(daemon, demoImage)).toBeUndefined();
    const byHand = await crib(daemon, ["image", "import", demo]);
    expect(byHand.stderr).toStartWith("crib: SignatureValidationFailed: import ");
    isEmpty(daemon);
    writeFileSync(
      policyFile,
      JSON.stringify({
        ...asks,
        transports: { docker: { "crib.local": [{ type: "insecureAcceptAnything" }] } },
      }),
    );
    expect((await crib(daemon, ["image", "import", demo])).code).toBe(0);
    expect(await statusOf(daemon, demoImage)).toBeDefined();
  },
);

test.skipIf(!isRoot)(
  "a signature goes along to where no registry is: as archive, in an executable, to another node",
  async () => {
    const { daemon: source } = await node(asks, {
      config: `[mirror]\nlisten = "127.0.0.1:0"\n`,
    });
    await using _source = source;
    const port = await eventually(() => {
      const [, found] = /"serving images".*"port":(\d+)/.exec(source.log) ?? [];
      expect(found).toBeDefined();
      return found;
    });
    const name = `${host}/team/signed:1`;
    await images(source).pullImage({ image: { image: name } });
    const archive = join(dir, "signed.tar.zst");
    expect((await crib(source, ["image", "export", name, "-o", archive])).code).toBe(0);
    const site = join(dir, "crib-site");
    expect((await crib(source, ["pack", "--image", name, "-o", site])).code).toBe(0);
    chmodSync(site, 0o755);

    const nowhere = { urls: ["http://127.0.0.1:1"] };
    {
      const { daemon } = await node(asks, nowhere);
      await using _daemon = daemon;
      expect((await crib(daemon, ["image", "import", archive])).stderr).toBe("");
      expect(await statusOf(daemon, name)).toBeDefined();
    }
    {
      const config = `[mirror]\npeers = ["http://127.0.0.1:${port}"]\n`;
      const { daemon } = await node(asks, { ...nowhere, config });
      await using _daemon = daemon;
      await images(daemon).pullImage({ image: { image: name } });
      const { daemon: strict } = await node(
        { default: [signedBy(makeSigner().pem)] },
        { ...nowhere, config },
      );
      await using _strict = strict;
      expect(await refusalOf(strict, name)).toContain("RegistryUnavailable");
      isEmpty(strict);
    }
    expect(existsSync(site)).toBe(true);
    for (const [policy, isAccepted] of [
      [asks, true],
      [{ default: [{ type: "reject" }] }, false],
    ] as const) {
      const policyFile = join(dir, "packed.json");
      writeFileSync(policyFile, JSON.stringify(policy));
      await using daemon = await Daemon.start({
        executable: site,
        images: `signature_policy_file = ${JSON.stringify(policyFile)}`,
      });
      if (isAccepted) await images(daemon).pullImage({ image: { image: name } });
      else expect(await refusalOf(daemon, name)).toContain("it is to be rejected");
    }
  },
);

async function crib(daemon: Daemon, argv: readonly string[]) {
  const child = Bun.spawn([executable, ...argv], {
    env: { ...daemon.env, CRIB_SOCKET: `unix://${daemon.socket}` },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { stdout, stderr, code };
}
