import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pullImage } from "../../src/image/pull.ts";
import { describe as messageOf, reasonOf } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { makeImage, makeLayer, pushImage } from "../harness/images/oci-image.ts";
import { makeSigner } from "../harness/images/signatures.ts";
import { packTar } from "../harness/images/tar.ts";
import { type RegistryServer, startRegistry } from "../harness/registry-server.ts";
import { tempDir } from "../harness/temp-dir.ts";
import { openTestImages } from "../harness/test-images.ts";
import { parts } from "../parts/paths.ts";
import { run } from "../parts/run.ts";

const isPossible = process.getuid?.() === 0 && existsSync(parts.signing);
const ctx = { signal: new AbortController().signal, log: silentLog };
const host = "images.test";
const email = "release@images.test";
const issuer = "https://accounts.images.test";

describe.skipIf(!isPossible)("what cosign's own packages have signed", () => {
  const resources = new AsyncDisposableStack();
  let registry: RegistryServer;
  let dir: string;

  const signed = [
    ["key-simple", "simple", "key"],
    ["key-bundle", "bundle", "key"],
    ["keyless-simple", "simple", "keyless"],
    ["keyless-bundle", "bundle", "keyless"],
    ["keyless-old-bundle", "old-bundle", "keyless"],
    ["late-simple", "simple", "late"],
    ["late-old-bundle", "old-bundle", "late"],
  ] as const;

  beforeAll(async () => {
    dir = resources.use(tempDir("/var/tmp")).path;
    registry = resources.use(await startRegistry({ writable: true }));
    const requests = signed.map(async ([repository, format, signer]) => {
      const data = Buffer.from(repository);
      const layer = makeLayer(packTar([{ type: "file", path: "a", data }]), "gzip");
      const image = makeImage([layer], {});
      await pushImage(registry.url, repository, "1", image);
      return {
        image: `${registry.host}/${repository}@${image.manifest.digest}`,
        name: `${host}/${repository}`,
        format,
        signer,
      };
    });
    const request = join(dir, "request.json");
    const images = await Promise.all(requests);
    writeFileSync(request, JSON.stringify({ out: dir, email, issuer, images }));
    await run([parts.signing, request]);
  });
  afterAll(() => resources.disposeAsync());

  let opened = 0;
  async function pull(repository: string, requirement: object) {
    const root = join(dir, `${opened++}`);
    const policyFile = `${root}.json`;
    const type = repository.endsWith("bundle") ? "matchDigest" : "matchRepository";
    const complete = { type: "sigstoreSigned", signedIdentity: { type }, ...requirement };
    writeFileSync(policyFile, JSON.stringify({ default: [complete] }));
    const hosts = { [host]: `server = "${registry.url}"` };
    const images = await openTestImages(root, { hosts, policyFile });
    return await pullImage(ctx, images, parseReference(`${host}/${repository}:1`));
  }

  async function refusal(repository: string, requirement: object): Promise<string> {
    const failure = await pull(repository, requirement).catch((err: unknown) => err);
    expect(reasonOf(failure)).toBe("SignatureValidationFailed");
    return messageOf(failure);
  }

  const file = (name: string) => join(dir, name);
  const key = () => ({ keyPath: file("cosign.pub") });
  const log = () => ({ rekorPublicKeyPath: file("rekor.pub") });
  const fulcio = (fields: object = {}) => ({
    fulcio: { caPath: file("fulcio.pem"), oidcIssuer: issuer, subjectEmail: email, ...fields },
    ...log(),
  });
  const root = (fields: object = {}) => ({
    trustedRootPath: file("trusted_root.json"),
    certificateOidcIssuer: issuer,
    certificateIdentity: email,
    ...fields,
  });
  const stranger = makeSigner();
  const strangersKey = Buffer.from(stranger.pem).toString("base64");

  test.each(["key-simple", "key-bundle"])("%s is verified by the key", async (repository) => {
    expect((await pull(repository, key())).repoTags).toEqual([`${host}/${repository}:1`]);
    expect(await refusal(repository, { keyData: strangersKey })).toContain(
      "not by the policy's key",
    );
    expect(await refusal(repository, { ...key(), ...log() })).toContain(
      "no signed entry timestamp",
    );
    expect(await refusal(repository, root())).toContain("it has no certificate");
    expect(await refusal(repository, fulcio())).toContain("it has no certificate");
  });

  test.each(["keyless-simple", "keyless-old-bundle"])(
    "%s is verified by authority and log",
    async (repository) => {
      for (const requirement of [
        fulcio(),
        root(),
        root({ certificateIdentity: "*@images.test" }),
      ]) {
        expect((await pull(repository, requirement)).repoTags).toEqual([`${host}/${repository}:1`]);
      }
      expect(await refusal(repository, key())).toContain("not by the policy's key");
      for (const [requirement, why] of [
        [fulcio({ subjectEmail: "other@images.test" }), `another identity, "${email}"`],
        [fulcio({ oidcIssuer: "https://evil.test" }), `another identity, "issuer ${issuer}"`],
        [{ ...fulcio(), rekorPublicKeyPath: file("cosign.pub") }, "inclusion promise"],
        [fulcio({ caPath: file("cosign.pub") }), "no certificate in PEM"],
        [root({ certificateIdentity: "*@evil.test" }), `another identity, "${email}"`],
        [root({ certificateIdentity: "release@images" }), `another identity, "${email}"`],
        [
          root({ certificateOidcIssuer: "https://evil.test" }),
          `another identity, "issuer ${issuer}"`,
        ],
      ] as const) {
        expect(await refusal(repository, requirement)).toContain(why);
      }
    },
  );

  test.each(["late-simple", "late-old-bundle"])(
    "%s: the certificate had expired",
    async (repository) => {
      expect(await refusal(repository, fulcio())).toContain("its certificate was not valid at");
      expect(await refusal(repository, root())).toMatch(/certificate/);
    },
  );

  test("keyless-bundle is verified by a trusted root's log and time-stamper", async () => {
    expect((await pull("keyless-bundle", root())).repoTags).toEqual([`${host}/keyless-bundle:1`]);
    expect(await refusal("keyless-bundle", fulcio())).toContain("no signed entry timestamp");
    const other = root({ certificateIdentity: "other@images.test" });
    expect(await refusal("keyless-bundle", other)).toContain(`another identity, "${email}"`);
  });

  test("a trusted root of others is none", async () => {
    const document = JSON.parse(readFileSync(file("trusted_root.json"), "utf8"));
    const other = join(dir, "other.json");
    const elsewhere = { trustedRootPath: other };
    writeFileSync(other, JSON.stringify({ ...document, certificateAuthorities: [] }));
    expect(await refusal("keyless-bundle", root(elsewhere))).toContain("certificate chain");
    const [tlog] = document.tlogs;
    const rawBytes = stranger.publicKey.export({ type: "spki", format: "der" }).toString("base64");
    const tlogs = [{ ...tlog, publicKey: { ...tlog.publicKey, rawBytes } }];
    writeFileSync(other, JSON.stringify({ ...document, tlogs }));
    for (const repository of ["keyless-simple", "keyless-bundle"]) {
      expect(await refusal(repository, root(elsewhere))).toMatch(/inclusion|checkpoint/);
    }
    writeFileSync(other, JSON.stringify({ ...document, timestampAuthorities: [] }));
    expect(await refusal("keyless-bundle", root(elsewhere))).toContain("timestamp could not be");
    // Without a log there is no time at which the certificate was good.
    writeFileSync(other, JSON.stringify({ ...document, tlogs: [] }));
    expect(await refusal("keyless-old-bundle", root(elsewhere))).toContain("expected 1 timestamps");
    writeFileSync(other, "{}");
    expect(await refusal("keyless-bundle", root(elsewhere))).toMatch(/refused by/);
    writeFileSync(other, "[");
    expect(await refusal("keyless-bundle", root(elsewhere))).toContain("not valid JSON");
  });
});
