import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseHosts, readHostsDirectory } from "./hosts-toml.ts";
import { upstreamOf } from "./registry-host.ts";

const upstream = upstreamOf("reg.test");
const noWarning = (problem: string) => {
  throw new Error(problem);
};
const pem = (name: string) => `-----BEGIN ${name}-----\n`;

function withFiles(names: readonly string[]) {
  const dir = mkdtempSync("/tmp/crib-hosts-");
  for (const name of names) {
    mkdirSync(join(dir, name, ".."), { recursive: true });
    writeFileSync(join(dir, name), pem(name));
  }
  return { dir, [Symbol.dispose]: () => rmSync(dir, { recursive: true }) };
}

test("parseHosts() reads all that containerd's format has", () => {
  using files = withFiles(["ca.pem", "more/ca.pem", "both.pem", "c.cert", "c.key"]);
  const hosts = parseHosts(
    `
    server = "https://reg.test"
    ca = "ca.pem"
    [host."https://mirror.test"]
      capabilities = ["pull", "resolve", "push"]
      ca = ["ca.pem", "${files.dir}/more/ca.pem"]
      client = [["c.cert", "c.key"], ["both.pem", ""]]
      skip_verify = true
      [host."https://mirror.test".header]
        X-Team = ["a", "b"]
        x-one = "1"
    [host."https://harbor.test/proxy/hub"]
      override_path = true
      client = "both.pem"
    [host."plain.test:5000"]
      client = ["both.pem"]
    `,
    `${files.dir}/hosts.toml`,
    upstream,
    noWarning,
  );
  expect(hosts.map(({ base, isMirror }) => [base.href, isMirror])).toEqual([
    ["https://mirror.test/v2", true],
    ["https://harbor.test/proxy/hub", true],
    ["https://plain.test:5000/v2", true],
    ["https://reg.test/v2", false],
  ]);
  const [mirror, harbor, plain, server] = hosts;
  expect(mirror).toMatchObject({
    capabilities: ["pull", "resolve", "push"],
    skipVerify: true,
    file: `${files.dir}/hosts.toml`,
  });
  expect({ ...mirror?.headers }).toEqual({ "x-team": "a, b", "x-one": "1" });
  expect(mirror?.ca.map(({ pem: text }) => text)).toEqual([pem("ca.pem"), pem("more/ca.pem")]);
  expect(
    mirror?.clientCertificates.map(({ certificate, key }) => [certificate.pem, key.pem]),
  ).toEqual([
    [pem("c.cert"), pem("c.key")],
    [pem("both.pem"), pem("both.pem")],
  ]);
  expect(harbor?.clientCertificates.length).toBe(1);
  expect(plain?.clientCertificates.length).toBe(1);
  expect(server?.ca.map(({ path }) => path)).toEqual([`${files.dir}/ca.pem`]);
  expect(server?.skipVerify).toBe(false);
});

test("readHostsDirectory() takes certificates alone, as Docker has them", () => {
  using files = withFiles(["ca.crt", "client.cert", "client.key"]);
  const [host, ...others] = readHostsDirectory(files.dir, upstream, noWarning) ?? [];
  expect(others).toEqual([]);
  expect(host).toMatchObject({ base: upstream.base, isMirror: false, file: files.dir });
  expect(host?.ca.map(({ pem: text }) => text)).toEqual([pem("ca.crt")]);
  expect(host?.clientCertificates[0]?.key.pem).toBe(pem("client.key"));
  expect(readHostsDirectory("/nowhere", upstream, noWarning)).toBeUndefined();
});

test("a certificate that is none costs itself", () => {
  using files = withFiles(["ca.crt", "alone.cert"]);
  writeFileSync(join(files.dir, "other.crt"), "no certificate");
  const warnings: string[] = [];
  const [host] = readHostsDirectory(files.dir, upstream, (one) => warnings.push(one)) ?? [];
  expect(host?.ca.map(({ path }) => path)).toEqual([`${files.dir}/ca.crt`]);
  expect(host?.clientCertificates).toEqual([]);
  expect(warnings.map((one) => /\/(\w+\.\w+) (?:is no PEM|does not)/.exec(one)?.[1])).toEqual([
    "other.crt",
    "alone.key",
  ]);
});
