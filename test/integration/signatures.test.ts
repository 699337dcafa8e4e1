import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { OpenImages } from "../../src/image/open.ts";
import { pullImage } from "../../src/image/pull.ts";
import { verifyImages } from "../../src/image/verify.ts";
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
  sha256,
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
    registry = resources.use(await startRegistry({ writable: true }));
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
    await using mirror = await startRegistry({ writable: true });
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

  /** The registry, but for what `respond` serves itself. */
  function inFront(respond: (path: string) => Response | undefined) {
    const asked: string[] = [];
    const proxy = Bun.serve({
      port: 0,
      fetch: (request) => {
        const path = new URL(request.url).pathname;
        asked.push(path);
        const { headers } = request;
        return respond(path) ?? fetch(`${registry.url}${path}`, { headers });
      },
    });
    return { url: proxy.url.href, asked, [Symbol.asyncDispose]: () => proxy.stop(true) };
  }

  test("asks the referrers API, and for the tag that stands in for it where that is none", async () => {
    const image = imageOf("referrers");
    const { digest } = image.manifest;
    await push("app/referred", image);
    const index = bundleImages(image.manifest, [bundleOf(signer, signStatement(digest))]);
    // Under another tag: the manifests are there, and nothing says what they refer to.
    await pushImage(registry.url, "app/referred", "elsewhere", index);
    let respond = () => new Response("", { status: 404 });
    await using front = inFront((path) => (path.includes("/referrers/") ? respond() : undefined));
    const { images } = await open(
      { default: [signedDigest] },
      { [host]: `server = "${front.url}"` },
    );
    const listed = (body: string | Uint8Array<ArrayBuffer>) => () =>
      new Response(body, {
        headers: { "content-type": "application/vnd.oci.image.index.v1+json" },
      });
    const none = JSON.stringify({ schemaVersion: 2, manifests: [] });
    for (const nothing of [respond, listed("<html>welcome</html>"), listed(none)]) {
      respond = nothing;
      expect(await refusalOf(images, "app/referred:1")).toEndWith("it has no signature");
    }
    respond = listed(Buffer.alloc(5 << 20, 0x20));
    expect(await refusalOf(images, "app/referred:1")).toContain("response over 4194304 bytes");
    respond = listed(new Uint8Array(index.manifest.bytes));
    await pull(images, "app/referred:1");
    respond = () => new Response("", { status: 405 });
    await pushImage(registry.url, "app/referred", digest.replace(":", "-"), index);
    await pull(images, "app/referred:1");
  });

  test("reads no more than signatures can be", async () => {
    const image = imageOf("too much");
    const { digest } = image.manifest;
    const huge = simpleSignature(Buffer.alloc(2 << 20, 0x20), Buffer.alloc(64));
    const payload = simplePayload(digest, `${host}/bad/much`);
    const right = simpleSignature(payload, signBytes(signer, payload));
    const wrong = Array.from({ length: 50 }, () => simpleSignature(payload, Buffer.alloc(64)));
    await push("bad/much", image, [signatureImage([huge, ...wrong, right])]);
    await using front = inFront(() => undefined);
    const { images } = await open({ default: [signed] }, { [host]: `server = "${front.url}"` });
    expect(await refusalOf(images, "bad/much:1")).toContain("not by the policy's key");
    expect(front.asked.some((path) => path.endsWith(sha256(payload)))).toBe(true);
    expect(front.asked.some((path) => path.endsWith(sha256(huge.payload)))).toBe(false);
    await push("bad/much", image, [signatureImage([huge, right])]);
    await pull(images, "bad/much:1");
  });

  test("one that is damaged is fetched again if it is asked for, and else given up", async () => {
    const image = imageOf("damaged");
    const signature = sign(image.manifest.digest, "app/damaged");
    await push("app/damaged", image, [signature]);
    await using front = inFront(() => undefined);
    const { images, policyFile } = await open(
      { default: [signed] },
      { [host]: `server = "${front.url}"` },
    );
    await pull(images, "app/damaged:1");
    const { digest } = signature.manifest;
    const damage = () =>
      writeFileSync(join(roots, `${opened - 1}`, "content/sha256", digest.slice(7)), "{}");
    const verify = async (repair: boolean) => {
      const verdicts = await Array.fromAsync(verifyImages(ctx, images, { keys: [], repair }));
      return verdicts.filter(({ problem }) => problem !== undefined);
    };
    const kept = () => images.images.listRecords()[0]?.signatures?.map((one) => one.manifest);

    damage();
    expect(await verify(true)).toMatchObject([{ digest, repair: "done" }]);
    expect(await verify(false)).toEqual([]);
    expect(kept()).toEqual([digest as never]);

    damage();
    writeFileSync(policyFile, JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));
    const before = front.asked.length;
    expect(await verify(true)).toMatchObject([{ digest, repair: "done" }]);
    expect(await verify(false)).toEqual([]);
    expect(kept()).toEqual([]);
    expect(front.asked.length).toBe(before);
  });

  test("resolves a tag once: what is verified is what is stored", async () => {
    const image = imageOf("first");
    await push("app/moving", image, [sign(image.manifest.digest, "app/moving")]);
    const other = imageOf("second");
    await pushImage(registry.url, "app/moving", "2", other);
    let times = 0;
    await using front = inFront((path) => {
      if (!path.endsWith("/manifests/1") || times++ === 0) return undefined;
      const { bytes, mediaType } = other.manifest;
      return new Response(new Uint8Array(bytes), { headers: { "content-type": mediaType } });
    });
    const { images } = await open({ default: [signed] }, { [host]: `server = "${front.url}"` });
    const { repoDigests } = await pull(images, "app/moving:1");
    expect(repoDigests).toEqual([`${host}/app/moving@${image.manifest.digest}`]);
    expect(front.asked.filter((path) => path.endsWith("/manifests/1"))).toHaveLength(1);
    const again = await pull(images, "app/moving:1").catch((err: unknown) => err);
    expect(messageOf(again)).toContain(`${other.manifest.digest} is refused by`);
    expect(images.images.get(`${host}/app/moving:1`).repoDigests).toEqual(repoDigests);
  });

  test("is not fulfilled by a registry that cannot be asked", async () => {
    const image = imageOf("away");
    await push("app/away", image, [sign(image.manifest.digest, "app/away")]);
    await using proxy = inFront((path) =>
      /sha256-|referrers/.test(path) ? new Response("", { status: 503 }) : undefined,
    );
    const { images } = await open({ default: [signed] }, { [host]: `server = "${proxy.url}"` });
    const failure = await pull(images, "app/away:1").catch((err: unknown) => err);
    expect(reasonOf(failure)).toBe("RegistryUnavailable");
    expect(images.images.list()).toEqual([]);
  });
});
