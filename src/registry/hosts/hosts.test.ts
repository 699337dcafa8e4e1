import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readHosts } from "./hosts.ts";
import { parseHosts } from "./hosts-toml.ts";
import { upstreamOf } from "./registry-host.ts";

const noWarning = (problem: string) => {
  throw new Error(problem);
};

const summary = (hosts: ReturnType<typeof readHosts>) =>
  hosts.map(({ base, isMirror, capabilities }) => [base.href, isMirror, capabilities.join()]);

test("readHosts() asks the registry itself, by https, when nothing is configured", () => {
  expect(summary(readHosts(["/nowhere"], undefined, "docker.io", noWarning))).toEqual([
    ["https://registry-1.docker.io/v2", false, "pull,resolve"],
  ]);
  expect(summary(readHosts([], undefined, "localhost:5000", noWarning))).toEqual([
    ["https://localhost:5000/v2", false, "pull,resolve"],
  ]);
});

test("parseHosts() reads mirrors in order", () => {
  const text = `
    server = "https://upstream.test"
    [host."https://mirror.test/cache"]
    capabilities = ["pull"]
    skip_verify = true
    [host."http://10.0.0.1:5000"]
    [host."https://harbor.test/v2/proxy"]
    override_path = true
  `;
  const hosts = parseHosts(
    text,
    "/certs.d/upstream.test/hosts.toml",
    upstreamOf("upstream.test"),
    noWarning,
  );
  expect(summary(hosts)).toEqual([
    ["https://mirror.test/cache/v2", true, "pull"],
    ["http://10.0.0.1:5000/v2", true, "pull,resolve"],
    ["https://harbor.test/v2/proxy", true, "pull,resolve"],
    ["https://upstream.test/v2", false, "pull,resolve"],
  ]);
  expect(hosts[0]?.skipVerify).toBe(true);
});

test.each([
  "[host",
  "server = 1",
  'server = "ftp://x"',
  'server = "http://"',
  "host = 1",
  'skip_verify = "yes"',
  'ca = "/nowhere.pem"',
])("parseHosts() refuses %s and names the file", (text) => {
  expect(() => parseHosts(text, "/c/x/hosts.toml", upstreamOf("x"), () => {})).toThrow(
    "/c/x/hosts.toml",
  );
});

test.each([
  '[host."https://x"]\nskip_verify = "yes"',
  '[host."https://x"]\nca = "/nowhere.pem"',
  '[host."https://x"]\nclient = 1',
  '[host."https://x"]\nclient = "/nowhere.pem"',
  '[host."https://x".header]\n"a b" = "c"',
  '[host."https://x".header]\na = "b\\r\\nc: d"',
  '[host."https://user:pw@x"]',
  '[host."ftp://x"]',
  '[host."https://x"]\ncapabilities = "pull"',
])("parseHosts() leaves out the host of %s with a warning, and no other", (wrong) => {
  const warnings: string[] = [];
  const text = `[host."https://good.test"]\n${wrong}`;
  const hosts = parseHosts(text, "/c/x/hosts.toml", upstreamOf("x"), (one) => warnings.push(one));
  expect(summary(hosts).map(([url]) => url)).toEqual(["https://good.test/v2", "https://x/v2"]);
  expect(warnings).toEqual([expect.stringMatching(/^\/c\/x\/hosts\.toml: .*left out$/)]);
});

test("a file for all registries that is none is left out, one for this registry is not", () => {
  const dir = mkdtempSync("/tmp/crib-hosts-");
  using _dir = { [Symbol.dispose]: () => rmSync(dir, { recursive: true }) };
  for (const name of ["_default", "own.test"]) {
    mkdirSync(join(dir, name));
    writeFileSync(join(dir, name, "hosts.toml"), "[host");
  }
  const warnings: string[] = [];
  const read = (registry: string) =>
    readHosts([dir], undefined, registry, (one) => warnings.push(one));
  expect(summary(read("other.test")).map(([url]) => url)).toEqual(["https://other.test/v2"]);
  expect(warnings).toEqual([expect.stringContaining(`${dir}/_default/hosts.toml`)]);
  expect(() => read("own.test")).toThrow(`${dir}/own.test/hosts.toml`);
});

test("a registry of this machine may be asked by http where no file says how it is reached", () => {
  const dir = mkdtempSync("/tmp/crib-hosts-");
  using _dir = { [Symbol.dispose]: () => rmSync(dir, { recursive: true }) };
  const plain = (registry: string) =>
    readHosts([dir], undefined, registry, noWarning).map(
      ({ isPlainAllowed, skipVerify }) => isPlainAllowed && skipVerify,
    );
  for (const local of ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:80"]) {
    expect(plain(local)).toEqual([true]);
  }
  const others = [
    "127.0.0.1.evil.test",
    "localhost.test",
    "10.0.0.1:5000",
    "[::2]:80",
    "128.0.0.1",
  ];
  for (const other of others) expect(plain(other)).toEqual([false]);
  const configure = (toml: string) => {
    mkdirSync(join(dir, "localhost:5000"), { recursive: true });
    writeFileSync(join(dir, "localhost:5000/hosts.toml"), toml);
    return plain("localhost:5000");
  };
  expect(configure('[host."https://mirror.test"]')).toEqual([false, true]);
  expect(configure("skip_verify = false")).toEqual([false]);
  expect(configure('server = "https://localhost:5000"')).toEqual([false]);
});

test("readHosts() finds ports, the default directory and the first of several", () => {
  const dir = mkdtempSync("/tmp/crib-hosts-");
  using _dir = { [Symbol.dispose]: () => rmSync(dir, { recursive: true }) };
  const put = (name: string, server: string) => {
    mkdirSync(join(dir, name), { recursive: true });
    writeFileSync(join(dir, name, "hosts.toml"), `server = "${server}"`);
  };
  put("a/_default", "http://default.test");
  put("b/reg.test_5000_", "http://five.test");
  put("b/reg.test", "http://plain.test");
  const first = (dirs: readonly string[], registry: string) =>
    readHosts(
      dirs.map((name) => join(dir, name)),
      undefined,
      registry,
      noWarning,
    )[0]?.base.host;
  expect(first(["b"], "reg.test:5000")).toBe("five.test");
  expect(first(["b"], "reg.test")).toBe("plain.test");
  expect(first(["b"], "other.test")).toBe("other.test");
  expect(first(["a", "b"], "reg.test")).toBe("plain.test");
  expect(first(["b", "a"], "other.test")).toBe("default.test");
});
