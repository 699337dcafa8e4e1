import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pullImage } from "../../src/image/pull.ts";
import { describe as messageOf, reasonOf } from "../../src/lib/errors.ts";
import { silentLog } from "../../src/lib/log.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { makeImage, makeLayer, pushImage } from "../harness/images/oci-image.ts";
import { packTar } from "../harness/images/tar.ts";
import { type RegistryServer, startRegistry } from "../harness/registry-server.ts";
import { tempDir } from "../harness/temp-dir.ts";
import { openTestImages } from "../harness/test-images.ts";
import { parts } from "../parts/paths.ts";

const isPossible =
  process.getuid?.() === 0 && existsSync(parts.dockerRegistry) && Bun.which("skopeo") !== null;
const ctx = { signal: new AbortController().signal, log: silentLog };
const data = Buffer.from("one image under many names");
const image = makeImage([makeLayer(packTar([{ type: "file", path: "a", data }]), "gzip")], {});
const { digest } = image.manifest;

const accept = { type: "insecureAcceptAnything" };
const reject = { type: "reject" };
const scopes = (fallback: object, docker: object) => ({
  default: [fallback],
  transports: { docker },
});

/** `HOST` stands for the registry. Debian's skopeo has scopes and format, but no sigstore in it. */
const policies: Readonly<Record<string, unknown>> = {
  accept: { default: [accept] },
  reject: { default: [reject] },
  "accept and reject": { default: [accept, reject] },
  "a scope of the host": scopes(reject, { HOST: [accept] }),
  "a scope of a namespace": scopes(accept, { HOST: [accept], "HOST/team": [reject] }),
  "a scope of a repository": scopes(reject, { "HOST/team": [reject], "HOST/team/web": [accept] }),
  "a scope of a tag": scopes(accept, { "HOST/team/web:1": [reject], "HOST/team/web": [accept] }),
  "a scope of a digest": scopes(accept, { [`HOST/team/web@${digest}`]: [reject] }),
  "a scope that looks alike": scopes(reject, { "HOST/tea": [accept], "HOST/team/we": [accept] }),
  "the empty scope": scopes(reject, { "": [accept] }),
  "another transport": { default: [reject], transports: { "docker-daemon": { "": [accept] } } },
  "an empty file": undefined,
  "an empty list": { default: [] },
  "an empty list elsewhere": scopes(accept, { "other.test": [] }),
  "no default": { transports: {} },
  "an unknown requirement": { default: [{ type: "whatever" }] },
  "an unknown key": { default: [accept], defaults: [] },
  "an unknown field": { default: [{ ...accept, more: true }] },
  "no key": { default: [{ type: "sigstoreSigned" }] },
  "two keys": {
    default: [accept],
    transports: { docker: { HOST: [{ type: "sigstoreSigned", keyPath: "/a", keyData: "AAAA" }] } },
  },
};

describe.skipIf(!isPossible)("policies mean to skopeo what they mean here", () => {
  const resources = new AsyncDisposableStack();
  const repositories = ["team/web", "team/webs", "teams/web", "web"];
  let registry: RegistryServer;
  let dir: string;

  beforeAll(async () => {
    dir = resources.use(tempDir("/var/tmp")).path;
    registry = resources.use(await startRegistry({ writable: true }));
    for (const repository of repositories) await pushImage(registry.url, repository, "1", image);
  });
  afterAll(() => resources.disposeAsync());

  async function skopeoAccepts(policyFile: string, name: string): Promise<boolean> {
    const child = Bun.spawn(
      [
        ...["skopeo", "--policy", policyFile, "copy", "--src-tls-verify=false", "-q"],
        ...[`docker://${name}`, `dir:${join(dir, crypto.randomUUID())}`],
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    const [said, code] = await Promise.all([new Response(child.stderr).text(), child.exited]);
    // Nothing else is to fail.
    if (code !== 0) expect(said).toMatch(/is rejected by policy|trust policy/);
    return code === 0;
  }

  test.each(Object.keys(policies))("%s", async (policy) => {
    const text = (JSON.stringify(policies[policy]) ?? "").replaceAll("HOST", registry.host);
    const root = join(dir, crypto.randomUUID());
    const policyFile = `${root}.json`;
    writeFileSync(policyFile, text);
    const hosts = { [registry.host]: `server = "${registry.url}"` };
    const images = await openTestImages(root, { hosts, policyFile });
    for (const repository of repositories) {
      for (const suffix of [":1", `@${digest}`]) {
        const name = `${registry.host}/${repository}${suffix}`;
        const failure = await pullImage(ctx, images, parseReference(name)).then(
          () => undefined,
          (err: unknown) => err,
        );
        if (failure !== undefined) expect(reasonOf(failure)).toBe("SignatureValidationFailed");
        const why = failure === undefined ? "accepted" : messageOf(failure);
        const isAccepted = failure === undefined;
        const theirs = await skopeoAccepts(policyFile, name);
        expect({ name, why, isAccepted }).toEqual({ name, why, isAccepted: theirs });
      }
    }
  });
});
