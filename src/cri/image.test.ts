import { expect, test } from "bun:test";
import { Code } from "@connectrpc/connect";
import { failure, openClients } from "../../test/harness/cri-clients.ts";
import { image, openDomain } from "../../test/harness/cri-domain.ts";
import type { Image, ImageId } from "../image/image.ts";

function setUp(...store: Image[]) {
  const domain = openDomain();
  domain.store.push(...store);
  return { domain, ...openClients(domain) };
}

const byName = { image: "registry.example/nginx:1" };

test("ImageStatus has every field, for a numeric user and for a name", async () => {
  const named = image({
    id: "sha256:b" as ImageId,
    repoTags: ["b:1"],
    config: { ...image().config, user: "nginx" },
    pinned: true,
    sizeBytes: 0,
  });
  const { images } = setUp(image(), named);
  const first = await images.imageStatus({ image: byName });
  expect(first.image).toMatchObject({
    id: image().id,
    repoTags: ["registry.example/nginx:1"],
    repoDigests: [...image().repoDigests],
    size: 12_345n,
    uid: { value: 101n },
    username: "",
    pinned: false,
  });
  expect(first.info).toEqual({});
  const second = await images.imageStatus({ image: { image: "b:1" } });
  expect(second.image).toMatchObject({ username: "nginx", pinned: true, size: 1n });
  expect(second.image?.uid).toBeUndefined();
});

test("ImageStatus of an unknown image is a response without image; verbose shows the config", async () => {
  const { images } = setUp(image());
  const unknown = await images.imageStatus({ image: { image: "other:1" } });
  expect(unknown.image).toBeUndefined();
  const { info } = await images.imageStatus({ image: { image: image().id }, verbose: true });
  const { imageSpec } = JSON.parse(info["info"] ?? "");
  expect(imageSpec).toMatchObject({ config: { User: "101", Cmd: ["nginx"] }, os: "linux" });
});

test("ListImages lists all, or the one that the filter names", async () => {
  const other = image({ id: "sha256:c" as ImageId, repoTags: ["c:1"] });
  const { images } = setUp(image(), other);
  const list = async (name: string): Promise<readonly string[]> =>
    (await images.listImages({ filter: { image: { image: name } } })).images.map(({ id }) => id);
  expect((await images.listImages({})).images).toHaveLength(2);
  expect(await list("")).toHaveLength(2);
  expect(await list("c:1")).toEqual(["sha256:c"]);
  expect(await list("d:1")).toEqual([]);
});

test("PullImage returns the image's id and hands the credentials over", async () => {
  const { domain, images, lines } = setUp();
  const none = { identityToken: "", registryToken: "", serverAddress: "" };
  const auths = [
    { username: "u", password: "p:w" },
    { auth: Buffer.from("u:p:w\0\0").toString("base64") },
    { registryToken: "t" },
    { identityToken: "i", serverAddress: "registry.example" },
    {},
  ];
  for (const auth of auths) {
    const { imageRef } = await images.pullImage({ image: byName, auth });
    expect(imageRef).toBe(image().id);
  }
  await images.pullImage({ image: byName, sandboxConfig: {} });
  expect(domain.calls.map(([, , credentials]) => credentials)).toEqual([
    { username: "u", password: "p:w", ...none },
    { username: "u", password: "p:w", ...none },
    { username: "", password: "", ...none, registryToken: "t" },
    {
      username: "",
      password: "",
      identityToken: "i",
      registryToken: "",
      serverAddress: "registry.example",
    },
    undefined,
    undefined,
  ]);
  expect(JSON.stringify(lines)).not.toContain("p:w");
});

test("PullImage refuses what is no reference, an unknown handler and bad auth without showing it", async () => {
  const { domain, images } = setUp();
  const bad = [
    {},
    { image: { image: "" } },
    { image: { image: "a b" } },
    { image: { image: "a\nb" } },
    { image: { image: "ü" } },
    { image: { image: "x".repeat(513) } },
    { image: { ...byName, runtimeHandler: "kata" } },
    { image: byName, auth: { auth: Buffer.from("no colon secret").toString("base64") } },
  ];
  for (const request of bad) {
    const status = await failure(images.pullImage(request));
    expect(status.code).toBe(Code.InvalidArgument);
    expect(status.message).not.toContain("secret");
  }
  expect(domain.calls).toEqual([]);
  await images.pullImage({ image: { ...byName, runtimeHandler: "crun" } });
});

test("RemoveImage hands the name over", async () => {
  const { domain, images } = setUp();
  await images.removeImage({ image: byName });
  expect(domain.calls).toEqual([["remove", byName.image]]);
  expect((await failure(images.removeImage({}))).code).toBe(Code.InvalidArgument);
});

test("ImageFsInfo has used_bytes, without which kubelets end", async () => {
  const { images } = setUp();
  const result = await images.imageFsInfo({});
  expect(result.imageFilesystems).toHaveLength(1);
  expect(result.imageFilesystems[0]).toMatchObject({
    timestamp: 1_700_000_009_000_000_009n,
    fsId: { mountpoint: "/var/lib/crib/content" },
    usedBytes: { value: 1000n },
    inodesUsed: { value: 10n },
  });
  expect(result.containerFilesystems[0]).toMatchObject({ usedBytes: { value: 2000n } });
});
