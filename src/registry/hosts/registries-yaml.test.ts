import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseRegistries, readRegistries } from "./registries-yaml.ts";
import { repositoryOn, upstreamOf } from "./registry-host.ts";

const example = `
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
      password: 00123
  docker.io:
    auth: { auth: dXNlcjpwdw== }
  "harbor.test":
    tls:
      insecure_skip_verify: true
`;
const noWarning = (problem: string) => {
  throw new Error(problem);
};
const file = parseRegistries(example, "/etc/registries.yaml", noWarning);
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
    password: "00123",
  });
  expect(file.credentialsFor("docker.io")).toMatchObject({ auth: "dXNlcjpwdw==" });
  expect(file.credentialsFor("10.0.0.1")).toBeUndefined();
});

test("a registry that nothing is said about is left to others", () => {
  const own = parseRegistries("configs:\n  a.test: {}\n", "f", noWarning);
  expect(own.hostsFor("b.test", upstreamOf("b.test"))).toBeUndefined();
  expect(own.hostsFor("a.test", upstreamOf("a.test"))?.length).toBe(1);
  expect(parseRegistries("", "f", noWarning).hostsFor("a", upstreamOf("a"))).toBeUndefined();
});

test.each(["mirrors: [", "mirrors: 1", "[1]", "mirrors: {a: *nobody}", "[".repeat(200_000)])(
  "parseRegistries() refuses %#",
  (wrong) => {
    expect(() => parseRegistries(wrong, "/etc/r.yaml", noWarning)).toThrow("/etc/r.yaml");
  },
);

test("aliases of aliases are no bomb", () => {
  const lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"];
  for (let i = 1; i < 12; i++) {
    lines.push(`a${i}: &a${i} [${Array.from({ length: 10 }, () => `*a${i - 1}`)}]`);
  }
  expect(() => parseRegistries(lines.join("\n"), "f", noWarning)).toThrow();
});

test.each([
  ["00123", "00123"],
  ["1e5", "1e5"],
  ["12345678901234567890", "12345678901234567890"],
  ["true", "true"],
  ["yes", "yes"],
  ["0x1F", "0x1F"],
  ["1_000", "1_000"],
  [".5", ".5"],
  ["2001-01-01", "2001-01-01"],
  ["12:30:45", "12:30:45"],
  ["- 1", undefined],
  ["null", ""],
  ["~", ""],
  ["", ""],
  ['"null"', "null"],
  ["'it''s'", "it's"],
  ['"a\\u0041"', "aA"],
  ["p@ss #word", "p@ss"],
  ["p#ss", "p#ss"],
  ["!!str 007", "007"],
  ["&x 0o7", "0o7"],
] as const)("a password %p is the text %p", (yaml, password) => {
  const warnings: string[] = [];
  const text = `configs:\n  r.test:\n    auth:\n      username: 1\n      password: ${yaml}\n`;
  const found = (() => {
    try {
      return parseRegistries(text, "f", (one) => warnings.push(one)).credentialsFor("r.test");
    } catch {
      return undefined;
    }
  })();
  expect(found?.password).toBe(password);
  if (password !== undefined) expect(found?.username).toBe("1");
});

test("anchors, merge keys and the last of two equal keys count as for Go programs", () => {
  const found = parseRegistries(
    `
x-common: &common
  auth: &auth {username: user, password: 0123}
  tls: {insecure_skip_verify: yes}
configs:
  a.test: *common
  b.test:
    <<: *common
    auth: {<<: [*auth, {identity_token: t}], password: 0456}
  c.test: {auth: {username: first}}
  c.test: {auth: {username: last}}
`,
    "f",
    noWarning,
  );
  expect(found.credentialsFor("a.test")).toMatchObject({ username: "user", password: "0123" });
  expect(found.credentialsFor("b.test")).toMatchObject({
    username: "user",
    password: "0456",
    identityToken: "t",
  });
  expect(found.credentialsFor("c.test")).toMatchObject({ username: "last" });
  expect(found.hostsFor("b.test", upstreamOf("b.test"))?.[0]?.skipVerify).toBe(true);
});

const first = "$".concat("{1}");
const byName = "$".concat("{name}/$org");

test.each([
  ["^rancher/(.*)", "public/rancher-$1", "rancher/pause", "public/rancher-pause"],
  ["^rancher/(.*)", `public/${first}x`, "rancher/pause", "public/pausex"],
  ["^rancher/(.*)", "public/$1x", "rancher/pause", "public/"],
  ["(?i)^RANCHER/", "r/", "rancher/pause", "r/pause"],
  ["(?P<org>[^/]+)/(?P<name>.*)", byName, "a/b", "b/a"],
  ["a", "x", "banana/a", "bxnxnx/x"],
  ["x*", "-", "abc", "-a-b-c-"],
  ["$", "/end", "abc", "abc/end"],
  ["a", "$$1", "a/b", "$1/b"],
  ["a", "$9", "a/b", "/b"],
  ["\\Aa\\z", "whole", "a", "whole"],
  ["[[:alpha:]]+", "w", "ab/12", "w/12"],
  ["never", "x", "a/b", "a/b"],
] as const)("a rewrite of %p by %p makes %p to %p, as Go does", (pattern, template, from, to) => {
  const own = JSON.stringify({ [pattern]: template });
  const found = parseRegistries(
    `mirrors: {r.test: {endpoint: [m.test], rewrite: ${own}}}`,
    "f",
    noWarning,
  );
  const [mirror] = found.hostsFor("r.test", upstreamOf("r.test")) ?? [];
  expect(mirror && repositoryOn(mirror, from)).toBe(to);
});

test("of several rewrites the first that changes the name does", () => {
  const rewrite = '{"^b/": "x/", "(?i)A": "a", "^a/": "first/", "a": "second"}';
  const found = parseRegistries(
    `mirrors: {r.test: {endpoint: [m.test], rewrite: ${rewrite}}}`,
    "f",
    noWarning,
  );
  const [mirror] = found.hostsFor("r.test", upstreamOf("r.test")) ?? [];
  expect(mirror && repositoryOn(mirror, "a/b")).toBe("first/b");
});

test.each([
  ['rewrite: {"(": x, "^a/": "b/"}', /"\("/],
  ['rewrite: {"(?!x)": x, "^a/": "b/"}', /\(\?!x\)/],
  [`rewrite: {${"x".repeat(600)}: x, "^a/": "b/"}`, /no pattern/],
  ['rewrite: {"^c": [1], "^a/": "b/"}', /not text/],
] as const)("a pattern that is none is left out with a warning: %#", (rewrite, warning) => {
  const warnings: string[] = [];
  const found = parseRegistries(
    `mirrors: {r.test: {endpoint: [m.test], ${rewrite}}}`,
    "/etc/r.yaml",
    (one) => warnings.push(one),
  );
  const [mirror] = found.hostsFor("r.test", upstreamOf("r.test")) ?? [];
  expect(mirror && repositoryOn(mirror, "a/x")).toBe("b/x");
  expect(warnings).toEqual([expect.stringMatching(/^\/etc\/r\.yaml: mirrors\.r\.test\.rewrite/)]);
  expect(warnings[0]).toMatch(warning);
});

test("an entry that is wrong costs its own registry or host", () => {
  const warnings: string[] = [];
  const found = parseRegistries(
    `
mirrors:
  a.test: {endpoint: x}
  b.test: {endpoint: ["ftp://x", "https://user:pw@x", good.test]}
  c.test: 1
  "*": {endpoint: [all.test]}
configs:
  a.test: {auth: 1, tls: {ca_file: /nowhere.pem, insecure_skip_verify: maybe}}
  b.test: 1
  d.test: {auth: {username: [1]}, tls: 1}
  e.test: {auth: {username: e}}
`,
    "/etc/r.yaml",
    (one) => warnings.push(one),
  );
  const names = (registry: string) =>
    found.hostsFor(registry, upstreamOf(registry))?.map(({ base }) => base.host);
  expect(names("e.test")).toEqual(["all.test", "e.test"]);
  expect(found.credentialsFor("e.test")).toMatchObject({ username: "e" });
  expect(warnings).toEqual([]);
  expect(names("a.test")).toEqual(["a.test"]);
  expect(names("b.test")).toEqual(["good.test", "b.test"]);
  expect(names("c.test")).toEqual(["c.test"]);
  for (const host of ["a.test", "b.test", "d.test"]) {
    expect(found.credentialsFor(host)).toBeUndefined();
  }
  expect(names("d.test")).toEqual(["all.test", "d.test"]);
  expect(warnings.every((one) => one.startsWith("/etc/r.yaml: "))).toBe(true);
  const about = warnings.map((one) => /(?:mirrors|configs)\.[^:]*/.exec(one)?.[0]);
  expect([...new Set(about)].toSorted()).toEqual([
    "configs.a.test.auth",
    "configs.a.test.tls.ca_file",
    "configs.a.test.tls.insecure_skip_verify",
    "configs.b.test",
    "configs.d.test.auth.username",
    "configs.d.test.tls",
    "mirrors.a.test.endpoint",
    "mirrors.b.test.endpoint[0]",
    "mirrors.b.test.endpoint[1]",
    "mirrors.c.test",
  ]);
});

test("the first file that is there is read; one that is none is left out with a warning", () => {
  const dir = mkdtempSync("/tmp/crib-registries-");
  using _dir = { [Symbol.dispose]: () => rmSync(dir, { recursive: true }) };
  expect(readRegistries([join(dir, "none")], noWarning)).toBeUndefined();
  writeFileSync(join(dir, "r.yaml"), "mirrors: {a.test: {endpoint: [m.test]}}");
  const found = readRegistries([join(dir, "none"), join(dir, "r.yaml")], noWarning);
  expect(found?.hostsFor("a.test", upstreamOf("a.test"))?.length).toBe(2);
  const warnings: string[] = [];
  for (const wrong of ["mirrors: [", "\t- x: [", "mirrors: 1"]) {
    writeFileSync(join(dir, "r.yaml"), wrong);
    expect(readRegistries([join(dir, "r.yaml")], (one) => warnings.push(one))).toBeUndefined();
  }
  expect(readRegistries([dir], (one) => warnings.push(one))).toBeUndefined();
  expect(warnings.length).toBe(4);
  for (const warning of warnings) expect(warning).toContain(dir);
});
