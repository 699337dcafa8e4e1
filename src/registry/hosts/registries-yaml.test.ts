import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe } from "../../lib/errors.ts";
import { parseRegistries, readRegistries } from "./registries-yaml.ts";
import { repositoryOn, upstreamOf } from "./registry-host.ts";

const text = `
mirrors:
  docker.io:
    endpoint:
      - "https://mirror.test:5000"
      - http://10.0.0.1/v2
      - https://harbor.test/v2/hub
    rewrite:
      "^rancher/(.*)": "public/rancher-$1"
  "https://with-scheme.test":
    endpoint: [mirror.test]
  empty.test:
  "*":
    endpoint:
      - "https://all.test"
configs:
  "mirror.test:5000":
    auth:
      username: user
      password: 12345
  docker.io:
    auth: { auth: dXNlcjpwdw== }
  "harbor.test":
    tls:
      insecure_skip_verify: true
`;
const file = parseRegistries(text, "/etc/registries.yaml");
const hosts = (registry: string) => file.hostsFor(registry, upstreamOf(registry)) ?? [];
const urls = (registry: string) => hosts(registry).map(({ base }) => base.href);

test("mirrors come in order, the registry last, and * stands for all that are not named", () => {
  expect(urls("docker.io")).toEqual([
    "https://mirror.test:5000/v2",
    "http://10.0.0.1/v2",
    "https://harbor.test/v2/hub",
    "https://registry-1.docker.io/v2",
  ]);
  expect(hosts("docker.io").map(({ isMirror }) => isMirror)).toEqual([true, true, true, false]);
  expect(urls("with-scheme.test")).toEqual([
    "https://mirror.test/v2",
    "https://with-scheme.test/v2",
  ]);
  expect(urls("empty.test")).toEqual(["https://empty.test/v2"]);
  expect(urls("other.test")).toEqual(["https://all.test/v2", "https://other.test/v2"]);
  expect(hosts("other.test")[0]?.file).toBe("/etc/registries.yaml");
});

test("rewrites are for mirrors only", () => {
  const names = hosts("docker.io").map((host) => repositoryOn(host, "rancher/pause"));
  const rewritten = "public/rancher-pause";
  expect(names).toEqual([rewritten, rewritten, rewritten, "rancher/pause"]);
  expect(hosts("docker.io").map((host) => repositoryOn(host, "library/x"))[0]).toBe("library/x");
});

test("tls and credentials belong to the host they are written for", () => {
  expect(hosts("docker.io").map(({ skipVerify }) => skipVerify)).toEqual([
    false,
    false,
    true,
    false,
  ]);
  expect(file.credentialsFor("mirror.test:5000")).toMatchObject({
    username: "user",
    password: "12345",
  });
  expect(file.credentialsFor("docker.io")).toMatchObject({ auth: "dXNlcjpwdw==" });
  expect(file.credentialsFor("10.0.0.1")).toBeUndefined();
});

test("a registry that nothing is said about is left to others", () => {
  const own = parseRegistries("configs:\n  a.test: {}\n", "f");
  expect(own.hostsFor("b.test", upstreamOf("b.test"))).toBeUndefined();
  expect(own.hostsFor("a.test", upstreamOf("a.test"))?.length).toBe(1);
  expect(parseRegistries("", "f").hostsFor("a", upstreamOf("a"))).toBeUndefined();
});

test.each([
  "mirrors: [",
  "mirrors: 1",
  "mirrors: {a: {endpoint: x}}",
  'mirrors: {a: {rewrite: {"(": x}}}',
  "[1]",
  "[".repeat(200_000),
])("parseRegistries() refuses %#", (wrong) => {
  expect(() => parseRegistries(wrong, "/etc/r.yaml")).toThrow("/etc/r.yaml");
});

test("the first file that is there is read, and a mistake names it", () => {
  const dir = mkdtempSync("/tmp/crib-registries-");
  using _dir = { [Symbol.dispose]: () => rmSync(dir, { recursive: true }) };
  expect(readRegistries([join(dir, "none")])).toBeUndefined();
  writeFileSync(join(dir, "r.yaml"), 'mirrors: {a: {endpoint: ["ftp://x"]}}');
  const found = readRegistries([join(dir, "none"), join(dir, "r.yaml")]);
  try {
    found?.hostsFor("a", upstreamOf("a"));
    expect.unreachable();
  } catch (err) {
    expect(describe(err)).toMatch(/r\.yaml: ftp:/);
  }
});
