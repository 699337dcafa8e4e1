import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readHosts } from "./hosts.ts";
import { parseHosts } from "./hosts-toml.ts";

const summary = (hosts: ReturnType<typeof readHosts>) =>
  hosts.map(({ base, isMirror, capabilities }) => [base.href, isMirror, capabilities.join()]);

test("readHosts() asks the registry itself, by https, when nothing is configured", () => {
  expect(summary(readHosts(["/nowhere"], undefined, "docker.io"))).toEqual([
    ["https://registry-1.docker.io/v2", false, "pull,resolve"],
  ]);
  expect(summary(readHosts([], undefined, "localhost:5000"))).toEqual([
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
    new URL("https://upstream.test/v2"),
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
  '[host."https://x"]\nskip_verify = "yes"',
  '[host."https://x"]\nca = "/nowhere.pem"',
])("parseHosts() refuses %s and names the file", (text) => {
  expect(() => parseHosts(text, "/c/x/hosts.toml", new URL("https://x/v2"))).toThrow(
    "/c/x/hosts.toml",
  );
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
    )[0]?.base.host;
  expect(first(["b"], "reg.test:5000")).toBe("five.test");
  expect(first(["b"], "reg.test")).toBe("plain.test");
  expect(first(["b"], "other.test")).toBe("other.test");
  expect(first(["a", "b"], "reg.test")).toBe("plain.test");
  expect(first(["b", "a"], "other.test")).toBe("default.test");
});
