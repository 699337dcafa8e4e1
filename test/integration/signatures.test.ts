import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { OpenImages } from "../../src/image/open.ts";
import { pullImage } from "../../src/image/pull.ts";
import { describe as messageOf, reasonOf } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { parseReference } from "../../src/oci/reference.ts";
import {
  foreignPlatform,
  hostPlatform,
  type Image,
  makeImage,
  makeIndex,
  makeLayer,
  pushImage,
} from "../harness/images/oci-image.ts";
import {
  bundleImages,
  bundleOf,
  makeSigner,
  type Signer,
  signatureImage,
  signatureTagOf,
  signBytes,
  signStatement,
  simplePayload,
  simpleSignature,
} from "../harness/images/signatures.ts";
import { packTar } from "../harness/images/tar.ts";
import { type RegistryServer, startRegistry } from "../harness/registry-server.ts";
import { tempDir } from "../harness/temp-dir.ts";
import { openTestImages } from "../harness/test-images.ts";
import { parts } from "../parts/paths.ts";

const isPossible = process.getuid?.() === 0 && existsSync(parts.dockerRegistry);
const ctx = { signal: new AbortController().signal, log: silentLog };
const host = "images.test";

const signer = makeSigner();
const stranger = makeSigner();

function imageOf(text: string): Image {
  const data = Buffer.from(text);
  return makeImage([makeLayer(packTar([{ type: "file", path: "a", data }]), "gzip")], {});
}

function sign(digest: string, repository: string, by: Signer = signer): Image {
  const payload = simplePayload(digest, `${host}/${repository}`);
  return signatureImage([simpleSignature(payload, signBytes(by, payload))]);
}

const platforms = makeIndex([
  { image: imageOf("foreign"), platform: foreignPlatform },
  { image: imageOf("ours"), platform: hostPlatform },
]);

describe.skipIf(!isPossible)("a policy that asks for signatures", () => {
  const resources = new AsyncDisposableStack();
  let registry: RegistryServer;
  let roots: string;

  async function push(repository: string, image: Image, signatures: readonly Image[] = []) {
    await pushImage(registry.url, repository, "1", image);
    for (const signature of signatures) {
      await pushImage(registry.url, repository, signatureTagOf(image.manifest.digest), signature);
    }
  }

  beforeAll(async () => {
    roots = resources.use(tempDir("/var/tmp")).path;
    const dataDir = resources.use(tempDir()).path;
    registry = resources.use(await startRegistry({ dataDir, writable: true }));
  });
  afterAll(() => resources.disposeAsync());

  const key = { type: "sigstoreSigned", keyData: Buffer.from(signer.pem).toString("base64") };
  const signed = { ...key, signedIdentity: { type: "matchRepository" } };
  const signedDigest = { ...key, signedIdentity: { type: "matchDigest" } };
  let opened = 0;

  async function open(policy: unknown, hosts = { [host]: `server = "${registry.url}"` }) {
    const root = join(roots, `${opened++}`);
    const policyFile = `${root}.json`;
    writeFileSync(policyFile, typeof policy === "string" ? policy : JSON.stringify(policy));
    return { images: await openTestImages(root, { hosts, policyFile }), policyFile };
  }

  async function pull(images: OpenImages, name: string) {
    return await pullImage(ctx, images, parseReference(`${host}/${name}`));
  }

  async function refusalOf(images: OpenImages, name: string): Promise<string> {
    const failure = await pull(images, name).then(
      () => new Error("it was accepted"),
      (err: unknown) => err,
    );
    expect({ text: messageOf(failure), reason: reasonOf(failure) }).toMatchObject({
      reason: "SignatureValidationFailed",
    });
    expect(images.images.list()).toEqual([]);
    expect(readdirSync(join(images.layers.directory, "layers"))).toEqual([]);
    expect(images.content.list()).toEqual([]);
    return messageOf(failure);
  }

  test("lets in what is signed, by payload and by bundle, by tag and by digest", async () => {
    const image = imageOf("signed");
    await push("app/web", image, [sign(image.manifest.digest, "app/web")]);
    const { digest } = image.manifest;
    const { images } = await open({ default: [signed] });
    expect((await pull(images, "app/web:1")).repoTags).toEqual([`${host}/app/web:1`]);
    const again = await pull(images, `app/web@${digest}`);
    expect(again.repoDigests).toEqual([`${host}/app/web@${digest}`]);

    const other = imageOf("with a bundle");
    await push("app/db", other);
    const bundles = bundleImages(other.manifest, [
      bundleOf(stranger, signStatement(other.manifest.digest)),
      bundleOf(signer, signStatement(other.manifest.digest)),
    ]);
    await pushImage(registry.url, "app/db", other.manifest.digest.replace(":", "-"), bundles);
    const byDigest = await open({ default: [signedDigest] });
    expect((await pull(byDigest.images, "app/db:1")).repoTags).toEqual([`${host}/app/db:1`]);
  });

  test("refuses what is not, names digest, file and reason, and keeps nothing of it", async () => {
    const { images, policyFile } = await open({ default: [signed] });
    const unsigned = imageOf("unsigned");
    await push("bad/unsigned", unsigned);
    expect(await refusalOf(images, "bad/unsigned:1")).toBe(
      `pull ${host}/bad/unsigned:1: ${unsigned.manifest.digest} is refused by ${policyFile} (default): it has no signature`,
    );
    const image = imageOf("signed by another");
    const { digest } = image.manifest;
    await push("bad/stranger", image, [sign(digest, "bad/stranger", stranger)]);
    expect(await refusalOf(images, "bad/stranger:1")).toEndWith("it is not by the policy's key");
    await push("bad/moved", image, [sign(digest, "app/web")]);
    expect(await refusalOf(images, "bad/moved:1")).toContain(`it is for "${host}/app/web"`);
    await push("bad/exchanged", image, [sign(unsigned.manifest.digest, "bad/exchanged")]);
    expect(await refusalOf(images, "bad/exchanged:1")).toEndWith("it is for another digest");
    await push("bad/bundle", image);
    const attestation = signStatement(digest, "https://slsa.dev/provenance/v1");
    const bundles = bundleImages(image.manifest, [bundleOf(signer, attestation)]);
    await pushImage(registry.url, "bad/bundle", digest.replace(":", "-"), bundles);
    expect(await refusalOf(images, "bad/bundle:1")).toContain("and no signature");
  });

  test("takes a signature of the index, or of the manifest in it for this node", async () => {
    const { images } = await open({ default: [signed] });
    await push("many/none", platforms);
    expect(await refusalOf(images, "many/none:1")).toEndWith("it has no signature");
    await push("many/index", platforms, [sign(platforms.manifest.digest, "many/index")]);
    await pull(images, "many/index:1");
    const [foreign, ours] = platforms.images;
    const digests = [foreign?.manifest.digest ?? "", ours?.manifest.digest ?? ""] as const;
    await push("many/ours", platforms);
    await pushImage(
      registry.url,
      "many/ours",
      signatureTagOf(digests[1]),
      sign(digests[1], "many/ours"),
    );
    await pull(images, "many/ours:1");
    await push("many/foreign", platforms);
    const foreignTag = signatureTagOf(digests[0]);
    await pushImage(registry.url, "many/foreign", foreignTag, sign(digests[0], "many/foreign"));
    const { images: others } = await open({ default: [signed] });
    expect(await refusalOf(others, "many/foreign:1")).toEndWith("it has no signature");
  });

  test("is read at each pull; one that cannot be read or checked lets nothing in", async () => {
    await push("app/any", imageOf("any"));
    const { images, policyFile } = await open({ default: [{ type: "insecureAcceptAnything" }] });
    for (const [policy, why] of [
      ["{", "not valid JSON"],
      ['{"default":[{"type":"reject"}]}', "it is to be rejected"],
      ['{"default":[{"type":"signedBy","keyType":"GPGKeys"}]}', "signedBy: GPG signatures: not"],
      ['{"default":[{"type":"sigstoreSigned","keyPath":"/nowhere.pub"}]}', "read /nowhere.pub"],
      ['{"default":[{"type":"newer"}]}', 'unknown type "newer"'],
    ] as const) {
      writeFileSync(policyFile, policy);
      expect(await refusalOf(images, "app/any:1")).toContain(why);
    }
    writeFileSync(policyFile, '{"default":[{"type":"insecureAcceptAnything"}]}');
    await pull(images, "app/any:1");
    writeFileSync(policyFile, "");
    expect(messageOf(await pull(images, "app/any:1").catch((err: unknown) => err))).toContain(
      "JSON",
    );
    expect(images.images.list()).toHaveLength(1);
  });

  test("all of a list have to be fulfilled, and only the narrowest scope counts", async () => {
    const image = imageOf("scopes");
    await push("team/a", image, [sign(image.manifest.digest, "team/a")]);
    const policy = (docker: object) => ({ default: [{ type: "reject" }], transports: { docker } });
    const lax = await open(
      policy({ [host]: [signed], [`${host}/team`]: [{ type: "insecureAcceptAnything" }] }),
    );
    await pull(lax.images, "team/a:1");
    const strangers = { ...signed, keyData: Buffer.from(stranger.pem).toString("base64") };
    const both = await open(policy({ [`${host}/team/a`]: [signed, strangers] }));
    expect(await refusalOf(both.images, "team/a:1")).toContain(`(${host}/team/a)`);
    const none = await open(policy({ "other.test": [signed] }));
    expect(await refusalOf(none.images, "team/a:1")).toContain("(default): it is to be rejected");
  });

  test("holds for mirrors: signatures come from them, and from the registry where they have none", async () => {
    const image = imageOf("mirrored");
    const { digest } = image.manifest;
    const dataDir = resources.use(tempDir()).path;
    await using mirror = await startRegistry({ dataDir, writable: true });
    await pushImage(mirror.url, "app/mirrored", "1", image);
    const both = { [host]: `server = "${registry.url}"\n[host."${mirror.url}"]\n` };
    const only = { [host]: `server = "${mirror.url}"` };
    await push("app/mirrored", image);
    const first = await open({ default: [signed] }, both);
    expect(await refusalOf(first.images, "app/mirrored:1")).toEndWith("it has no signature");
    await push("app/mirrored", image, [sign(digest, "app/mirrored")]);
    await pull(first.images, "app/mirrored:1");
    const second = await open({ default: [signed] }, only);
    expect(await refusalOf(second.images, "app/mirrored:1")).toEndWith("it has no signature");
    await pushImage(
      mirror.url,
      "app/mirrored",
      signatureTagOf(digest),
      sign(digest, "app/mirrored"),
    );
    await pull(second.images, "app/mirrored:1");
  });

  test("is not fulfilled by a registry that cannot be asked", async () => {
    const image = imageOf("away");
    await push("app/away", image, [sign(image.manifest.digest, "app/away")]);
    using proxy = Bun.serve({
      port: 0,
      fetch: (request) =>
        /sha256-|referrers/.test(request.url)
          ? new Response("", { status: 503 })
          : fetch(`${registry.url}${new URL(request.url).pathname}`, { headers: request.headers }),
    });
    const { images } = await open({ default: [signed] }, { [host]: `server = "${proxy.url}"` });
    const failure = await pull(images, "app/away:1").catch((err: unknown) => err);
    expect(reasonOf(failure)).toBe("RegistryUnavailable");
    expect(images.images.list()).toEqual([]);
  }, 30_000);
});
