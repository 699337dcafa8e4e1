import { expect, test } from "bun:test";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import { exportImages } from "../../src/image/archive/export.ts";
import { importArchive } from "../../src/image/archive/import.ts";
import type { OpenImages } from "../../src/image/open.ts";
import { findServedBlob, findServedManifest } from "../../src/image/served-images.ts";
import { registrySignatures } from "../../src/image/signatures/registry-signatures.ts";
import { signaturesIn } from "../../src/image/signatures/source.ts";
import { AppError, describe as messageOf, reasonOf } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { digestOf, parseDigest } from "../../src/oci/digest.ts";
import { type Image, layoutFiles, makeImage, makeLayer } from "../harness/images/oci-image.ts";
import {
  bundleImages,
  bundleOf,
  makeSigner,
  signatureImage,
  signatureTagOf,
  signBytes,
  signStatement,
  simplePayload,
  simpleSignature,
} from "../harness/images/signatures.ts";
import { packTar } from "../harness/images/tar.ts";
import { tempDir } from "../harness/temp-dir.ts";
import { openTestImages } from "../harness/test-images.ts";

const isRoot = process.getuid?.() === 0;
const ctx = { signal: new AbortController().signal, log: silentLog };
const name = "images.test/app/web:1";
const repository = "images.test/app/web";
const signer = makeSigner();
const image = imageOf("web");
const { digest } = image.manifest;

function imageOf(text: string): Image {
  const data = Buffer.from(text);
  return makeImage([makeLayer(packTar([{ type: "file", path: "a", data }]), "gzip")], {});
}

function payloadSignature(of: string, by = signer): Image {
  const payload = simplePayload(of, repository);
  return signatureImage([simpleSignature(payload, signBytes(by, payload))]);
}

const named = (text: string) => ({ annotations: { "org.opencontainers.image.ref.name": text } });
const itself = { image, descriptor: named(name) };
const tagged = {
  image: payloadSignature(digest),
  descriptor: named(signatureTagOf(digest)),
};
const referring = {
  image: bundleImages(image.manifest, [bundleOf(signer, signStatement(digest))]),
  descriptor: named(digest.replace(":", "-")),
};

function archiveOf(entries: Parameters<typeof layoutFiles>[0]): Buffer {
  return Buffer.from(
    packTar(
      [...layoutFiles(entries)].map(([path, data]) => ({
        type: "file",
        path,
        data: Buffer.from(data),
      })),
    ),
  );
}

async function open(dir: string, identity = "matchRepository", type = "sigstoreSigned") {
  const policyFile = join(dir, "policy.json");
  const keyData = Buffer.from(signer.pem).toString("base64");
  const requirement =
    type === "sigstoreSigned" ? { type, keyData, signedIdentity: { type: identity } } : { type };
  writeFileSync(policyFile, JSON.stringify({ default: [requirement] }));
  return await openTestImages(dir, { policyFile });
}

async function importBytes(dir: string, images: OpenImages, bytes: Uint8Array) {
  const file = join(dir, "archive");
  writeFileSync(file, bytes);
  return await importArchive(ctx, images, file);
}

test.skipIf(!isRoot).each([
  ["a tag made of the digest", [itself, tagged], "matchRepository"],
  ["nothing but what it is", [{ image: payloadSignature(digest) }, itself], "matchRepository"],
  ["the index of what refers to it", [itself, referring], "matchDigest"],
  [
    "its artifact type",
    [
      itself,
      ...referring.image.images.map((one) => ({
        image: one,
        descriptor: { artifactType: "application/vnd.dev.sigstore.bundle.v0.3+json" },
      })),
    ],
    "matchDigest",
  ],
] as const)("an archive brings its signature, found by %s", async (_, entries, identity) => {
  const archive = archiveOf(entries);
  for (const bytes of [archive, zstdCompressSync(archive)]) {
    using dir = tempDir("/var/tmp");
    const images = await open(dir.path, identity);
    const [imported] = await importBytes(dir.path, images, bytes);
    expect(imported?.repoTags).toEqual([name]);
    expect(images.images.list()).toHaveLength(1);
  }
});

test.skipIf(!isRoot).each([
  ["without", archiveOf([itself]), "it has no signature"],
  [
    "with another's",
    archiveOf([
      itself,
      { image: payloadSignature(digest, makeSigner()), descriptor: named(signatureTagOf(digest)) },
    ]),
    "not by the policy's key",
  ],
  [
    "with another image's",
    archiveOf([itself, { image: payloadSignature(imageOf("x").manifest.digest) }]),
    "for another digest",
  ],
])("an archive %s is refused, and nothing of it stays", async (_, archive, why) => {
  for (const bytes of [archive, zstdCompressSync(archive)]) {
    using dir = tempDir("/var/tmp");
    const images = await open(dir.path);
    const failure = await importBytes(dir.path, images, bytes).catch((err: unknown) => err);
    expect(reasonOf(failure)).toBe("SignatureValidationFailed");
    expect(messageOf(failure)).toContain(`${name}: ${digest} is refused by`);
    expect(messageOf(failure)).toContain(why);
    expect(images.images.list()).toEqual([]);
    expect(images.content.list()).toEqual([]);
    expect(readdirSync(join(images.layers.directory, "layers"))).toEqual([]);
  }
});

test.skipIf(!isRoot)("an archive of docker save has no manifest that could be signed", async () => {
  using dir = tempDir("/var/tmp");
  const images = await open(dir.path, "", "insecureAcceptAnything");
  await importBytes(dir.path, images, archiveOf([itself]));
  const options = { format: "docker", compressLayers: false } as const;
  const saved = Buffer.concat(await Array.fromAsync(exportImages(ctx, images, [name], options)));
  using other = tempDir("/var/tmp");
  const strict = await open(other.path);
  const failure = await importBytes(other.path, strict, saved).catch((err: unknown) => err);
  expect(reasonOf(failure)).toBe("SignatureValidationFailed");
  expect(messageOf(failure)).toContain("without the manifest that may be signed");
  expect((await open(other.path, "", "reject")).images.list()).toEqual([]);
});

test.skipIf(!isRoot)("an image without a name is the default's case", async () => {
  using dir = tempDir("/var/tmp");
  const failure = await importBytes(
    dir.path,
    await open(dir.path),
    archiveOf([{ image }, tagged]),
  ).catch((err: unknown) => err);
  expect(messageOf(failure)).toContain("an image without a name: ");
  using other = tempDir("/var/tmp");
  const [imported] = await importBytes(
    other.path,
    await open(other.path, "matchDigest"),
    archiveOf([{ image }, tagged]),
  );
  expect(imported?.repoTags).toEqual([]);
});

test.skipIf(!isRoot).each([
  ["a payload", tagged, "matchRepository"],
  ["a bundle", referring, "matchDigest"],
])("%s is served to other nodes where cosign has it", async (_, signature, identity) => {
  using dir = tempDir("/var/tmp");
  const images = await open(dir.path, identity);
  await importBytes(dir.path, images, archiveOf([itself, signature]));
  const served = { registry: "images.test", repository: "app/web" };
  const notServed = () => new AppError("not served", { kind: "not-found" });
  const source = registrySignatures(() => ({
    findReferrers: async () => [],
    async fetchManifest(_ctx, tagOrDigest) {
      const found = await findServedManifest(ctx, images, served, tagOrDigest);
      if (found === undefined) throw notServed();
      return found;
    },
    async fetchBlob(_ctx, blob) {
      const found = await findServedBlob(ctx, images, served, blob.digest);
      if (found === undefined) throw notServed();
      return Buffer.concat(await Array.fromAsync(found.read()));
    },
  }));
  expect((await source.find(ctx, parseDigest(digest))).flatMap(signaturesIn)).toHaveLength(1);
  expect(await source.find(ctx, digestOf("another"))).toEqual([]);
  for (const one of images.images.listRecords().flatMap(({ signatures = [] }) => signatures)) {
    images.content.remove(one.manifest);
  }
  expect(await findServedManifest(ctx, images, served, "2")).toBeUndefined();
});

test.skipIf(!isRoot)("a signature that serves several names is kept once", async () => {
  using dir = tempDir("/var/tmp");
  const images = await open(dir.path, "matchDigest");
  const file = join(dir.path, "archive");
  writeFileSync(file, archiveOf([itself, tagged]));
  const registries = ["mirror.test", "other.test:5000"];
  const [imported] = await importArchive(ctx, images, file, { registries });
  expect(imported?.repoTags).toHaveLength(3);
  expect(images.images.findRecord(name)?.signatures).toHaveLength(1);
});

test.skipIf(!isRoot).each([
  ["payload", tagged, "matchRepository"],
  ["bundle", referring, "matchDigest"],
])("a %s goes along when the image is exported", async (_, signature, identity) => {
  using first = tempDir("/var/tmp");
  const images = await open(first.path, identity);
  await importBytes(first.path, images, archiveOf([itself, signature]));
  const options = { format: "oci", compressLayers: false } as const;
  const exported = Buffer.concat(await Array.fromAsync(exportImages(ctx, images, [name], options)));
  using second = tempDir("/var/tmp");
  const [imported] = await importBytes(second.path, await open(second.path, identity), exported);
  expect(imported?.repoDigests).toEqual([`${repository}@${digest}`]);
});
