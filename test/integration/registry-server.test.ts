import { describe, expect, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  debianRepository,
  debianTags,
  toolsLayerCount,
  toolsMinBytes,
} from "../harness/images/debian-images.ts";
import { startRegistry, writeMirrors } from "../harness/registry-server.ts";
import { tempDir } from "../harness/temp-dir.ts";

const credentials = { username: "someone", password: "secret: with a colon" };
const basic = `Basic ${btoa(`${credentials.username}:${credentials.password}`)}`;
const manifest = "/v2/crib-test/edge/manifests/latest";
const accept = {
  accept: "application/vnd.oci.image.manifest.v1+json",
};

describe("startRegistry()", () => {
  test("serves the images of setup.ts and takes no others", async () => {
    await using registry = await startRegistry();
    const answer = await fetch(registry.url + manifest, { headers: accept });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ schemaVersion: 2 });
    const push = await fetch(`${registry.url}/v2/new/blobs/uploads/`, { method: "POST" });
    expect(push.status).toBe(405);
    expect(await registry.requests()).toContain(`GET ${manifest}`);
  });

  test("ends when it is disposed of, and leaves nothing in the temporary directory", async () => {
    const before = process.env["TMPDIR"];
    using dir = tempDir();
    process.env["TMPDIR"] = dir.path;
    try {
      const registry = await startRegistry({ tls: true, tokenAuth: "anonymous" });
      expect(await readdir(dir.path)).toHaveLength(1);
      await registry[Symbol.asyncDispose]();
      expect(await fetch(registry.url).then(() => "answered", String)).not.toBe("answered");
      expect(await readdir(dir.path)).toEqual([]);
    } finally {
      if (before === undefined) delete process.env["TMPDIR"];
      else process.env["TMPDIR"] = before;
    }
  });

  test("asks for basic authentication", async () => {
    await using registry = await startRegistry({ basicAuth: credentials });
    const refused = await fetch(registry.url + manifest, { headers: accept });
    expect(refused.status).toBe(401);
    expect(refused.headers.get("www-authenticate")).toStartWith("Basic ");
    const headers = { ...accept, authorization: basic };
    expect((await fetch(registry.url + manifest, { headers })).status).toBe(200);
  });

  test("serves https with its own CA", async () => {
    await using registry = await startRegistry({ tls: true });
    expect(registry.url).toBe(`https://${registry.host}`);
    const ca = await Bun.file(registry.caFile ?? "").text();
    const answer = await fetch(registry.url + manifest, { headers: accept, tls: { ca } });
    expect(answer.status).toBe(200);
    const untrusted = fetch(`${registry.url}/v2/`);
    expect(await untrusted.then(() => "answered", String)).not.toBe("answered");
  });

  test.each([
    { name: "everybody", tokenAuth: "anonymous" as const, headers: {} },
    { name: "a user", tokenAuth: credentials, headers: { authorization: basic } },
  ])("gives bearer tokens to $name", async ({ tokenAuth, headers }) => {
    await using registry = await startRegistry({ tokenAuth });
    const refused = await fetch(registry.url + manifest, { headers: accept });
    expect(refused.status).toBe(401);
    const challenge = refused.headers.get("www-authenticate") ?? "";
    expect(challenge).toStartWith("Bearer ");
    const [realm, service, scope] = ["realm", "service", "scope"].map(
      (name) => new RegExp(`${name}="([^"]*)"`, "u").exec(challenge)?.[1] ?? "",
    );
    expect(scope).toBe("repository:crib-test/edge:pull");
    const url = `${realm}?${new URLSearchParams({ service: service ?? "", scope: scope ?? "" })}`;
    if (tokenAuth !== "anonymous") expect((await fetch(url)).status).toBe(401);
    const { token } = (await (await fetch(url, { headers })).json()) as { readonly token: string };
    const authorization = `Bearer ${token}`;
    const allowed = await fetch(registry.url + manifest, { headers: { ...accept, authorization } });
    expect(allowed.status).toBe(200);
    const elsewhere = `${registry.url}/v2/pause/manifests/3.9`;
    expect((await fetch(elsewhere, { headers: { ...accept, authorization } })).status).toBe(401);
  });
});

test("the Debian images have the layers that tests count on", async () => {
  await using registry = await startRegistry();
  const layersOf = async (
    tag: string,
  ): Promise<readonly { readonly mediaType: string; readonly size: number }[]> => {
    const url = `${registry.url}/v2/${debianRepository}/manifests/${tag}`;
    const types = `${accept.accept}, application/vnd.docker.distribution.manifest.v2+json`;
    const answer = await fetch(url, { headers: { accept: types } });
    return ((await answer.json()) as { readonly layers: [] }).layers;
  };
  const tools = await layersOf(debianTags.tools);
  expect(tools).toHaveLength(toolsLayerCount);
  expect(tools.reduce((sum, layer) => sum + layer.size, 0)).toBeGreaterThan(toolsMinBytes);
  const [zstd] = await layersOf(debianTags.zstd);
  expect(zstd?.mediaType).toBe("application/vnd.oci.image.layer.v1.tar+zstd");
  const [docker] = await layersOf(debianTags.docker);
  expect(docker?.mediaType).toBe("application/vnd.docker.image.rootfs.diff.tar.gzip");
});

test("writeMirrors() leads every known registry to the given one", async () => {
  const dir = await mkdtemp(join(tmpdir(), "mirrors-"));
  try {
    await writeMirrors(dir, "127.0.0.1:5000");
    expect((await readdir(dir)).sort()).toEqual([
      "docker.io",
      "gcr.io",
      "k8s.gcr.io",
      "public.ecr.aws",
      "registry.k8s.io",
    ]);
    const file = Bun.TOML.parse(await Bun.file(join(dir, "gcr.io/hosts.toml")).text());
    expect(file).toEqual({
      server: "http://127.0.0.1:5000",
      host: { "http://127.0.0.1:5000": { capabilities: ["pull", "resolve"] } },
    });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
