import { expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe } from "../../lib/errors.ts";
import { silentLog } from "../../lib/log.ts";
import { parseHosts } from "../hosts/hosts-toml.ts";
import { parseRegistries } from "../hosts/registries-yaml.ts";
import { upstreamOf } from "../hosts/registry-host.ts";
import { askHelper } from "./credential-helper.ts";
import { findInDockerConfig } from "./docker-config.ts";
import { findCredentials } from "./node-credentials.ts";

const ctx = { signal: new AbortController().signal, log: silentLog };

const noWarning = (problem: string) => {
  throw new Error(problem);
};

function tempDir() {
  const path = mkdtempSync("/tmp/crib-credentials-");
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

function dockerConfig(dir: string, content: unknown, name = "config.json"): string {
  const path = join(dir, name);
  writeFileSync(path, JSON.stringify(content));
  return path;
}

const login = (username: string) => ({ auth: btoa(`${username}:pw`) });

test("findInDockerConfig() takes what says most of the repository", () => {
  using dir = tempDir();
  const path = dockerConfig(dir.path, {
    auths: {
      "*.test": login("pattern"),
      "reg.test": login("host"),
      "https://reg.test/team": login("team"),
      "reg.test/team/app": login("app"),
      "reg.test/tea": login("other"),
      "https://index.docker.io/v1/": login("hub"),
      "empty.test": {},
    },
  });
  const key = (host: string, repository: string) => {
    const found = findInDockerConfig(path, host, repository, noWarning);
    return found?.kind === "stored" ? atob(found.credentials.auth ?? "").split(":")[0] : found;
  };
  expect(key("reg.test", "any")).toBe("host");
  expect(key("reg.test", "team/x")).toBe("team");
  expect(key("reg.test", "team/app")).toBe("app");
  expect(key("reg.test", "team/app/deep")).toBe("app");
  expect(key("reg.test", "teams/x")).toBe("host");
  expect(key("other.test", "x")).toBe("pattern");
  expect(key("deep.other.test", "x")).toBeUndefined();
  expect(key("docker.io", "library/x")).toBe("hub");
  expect(key("registry-1.docker.io", "library/x")).toBe("hub");
  expect(key("reg.test:5000", "x")).toBeUndefined();
  expect(findInDockerConfig(join(dir.path, "none"), "x", "y", noWarning)).toBeUndefined();
});

test("findInDockerConfig() prefers a helper of the host to auths, and those to the general store", () => {
  using dir = tempDir();
  const path = dockerConfig(dir.path, {
    auths: { "a.test": login("a"), "b.test": login("b") },
    credHelpers: { "a.test": "special" },
    credsStore: "general",
  });
  expect(findInDockerConfig(path, "a.test", "x", noWarning)).toEqual({
    kind: "helper",
    helper: "special",
  });
  expect(findInDockerConfig(path, "b.test", "x", noWarning)?.kind).toBe("stored");
  expect(findInDockerConfig(path, "c.test", "x", noWarning)).toEqual({
    kind: "helper",
    helper: "general",
  });
});

test("a file or an entry of Docker's that is wrong is left out with a warning that names it", () => {
  using dir = tempDir();
  const path = join(dir.path, "config.json");
  const ask = (content: unknown, host = "a.test", repository = "x") => {
    writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
    const warnings: string[] = [];
    const found = findInDockerConfig(path, host, repository, (one) => warnings.push(one));
    for (const one of warnings) expect(one).toStartWith(`${path}: `);
    return [found?.kind === "stored" ? found.credentials : found?.helper, warnings.length];
  };
  for (const wrong of ["", " \n", "{", "[]", "1", "null", "\ufeff{}", '{"auths":{}} x']) {
    expect(ask(wrong)).toEqual([undefined, 1]);
  }
  const good = { username: "a", password: "pw", identityToken: "", registryToken: "" };
  for (const wrong of [1, "x", { auth: 1 }, { auth: "no base64!" }, { auth: "bm8gY29sb24=" }]) {
    const auths = { "b.test": wrong, "a.test": { username: "a", password: "pw" } };
    expect(ask({ auths })).toEqual([good, 0]);
    expect(ask({ auths }, "b.test")).toEqual([undefined, 1]);
    const longer = { ...auths, "a.test/team": wrong };
    expect(ask({ auths: longer }, "a.test", "team/app")).toEqual([good, 1]);
  }
  expect(ask({ auths: [] })).toEqual([undefined, 1]);
  expect(ask({ auths: { "a.test": null, "b.test": {} } })).toEqual([undefined, 0]);
  expect(ask({ credHelpers: { "a.test": 1 }, credsStore: "s" })).toEqual(["s", 1]);
  expect(ask({ credHelpers: { "b.test": 1 }, credsStore: 1 })).toEqual([undefined, 1]);
  expect(ask({ credHelpers: 1, HttpHeaders: 1, proxies: [] })).toEqual([undefined, 1]);
});

test("keys of Docker's auths are hosts however they are written, and auth wins", () => {
  using dir = tempDir();
  const from = (key: string, host: string) => {
    const entry = { ...login("in-auth"), username: "beside", identitytoken: "token" };
    const path = dockerConfig(dir.path, { auths: { [key]: entry } });
    const found = findInDockerConfig(path, host, "library/x", noWarning);
    return found?.kind === "stored" ? found.credentials : undefined;
  };
  const hub = [
    "https://index.docker.io/v1/",
    "index.docker.io",
    "docker.io",
    "registry-1.docker.io",
  ];
  for (const key of hub) {
    expect(from(key, "docker.io")).toMatchObject({
      auth: btoa("in-auth:pw"),
      identityToken: "token",
    });
    expect(from(key, "docker.io")?.username).toBeUndefined();
  }
  for (const key of ["reg.test:5000", "https://reg.test:5000/v2/", "http://REG.test:5000/"]) {
    expect(from(key, "reg.test:5000")).toBeDefined();
  }
  expect(from("https://index.docker.io/v1/access-token", "docker.io")).toBeUndefined();
});

test("findCredentials() goes on to the next source where a helper is of no use", async () => {
  using dir = tempDir();
  const dockerConfigFiles = [
    dockerConfig(dir.path, { credsStore: "not-installed" }, "1"),
    dockerConfig(dir.path, { credHelpers: { "a.test": "../odd name" } }, "2"),
    dockerConfig(dir.path, { auths: { "a.test": login("a") } }, "3"),
  ];
  const warnings: string[] = [];
  const find = (host: string) =>
    findCredentials(
      ctx,
      { request: undefined, registries: undefined, dockerConfigFiles },
      { host, registry: host, repository: "x" },
      (one) => warnings.push(one),
    );
  expect((await find("a.test"))?.from).toBe(`${dir.path}/3 (a.test)`);
  expect(warnings.length).toBe(2);
  expect(await find("b.test")).toBeUndefined();
  expect(warnings.length).toBe(3);
  expect(warnings[2]).toContain("docker-credential-not-installed is not in PATH");
});

test("findCredentials() asks the request, registries.yaml and Docker's files, each for its own host", async () => {
  using dir = tempDir();
  const sources = {
    request: { username: "request", password: "x" },
    registries: parseRegistries(
      "configs: {reg.test: {auth: {username: yaml, password: x}}}",
      "yaml",
      noWarning,
    ),
    dockerConfigFiles: [
      dockerConfig(dir.path, { auths: { "mirror.test": login("first") } }, "1"),
      dockerConfig(
        dir.path,
        { auths: { "mirror.test": login("second"), "reg.test": login("x") } },
        "2",
      ),
    ],
  };
  const from = async (host: string, given: Partial<typeof sources> = {}) => {
    const subject = { host, registry: "reg.test", repository: "app" };
    return (await findCredentials(ctx, { ...sources, ...given }, subject, noWarning))?.from;
  };
  const none = { request: undefined } as never;
  expect(await from("reg.test")).toBe("the request");
  expect(await from("reg.test", none)).toBe("yaml");
  expect(await from("mirror.test")).toBe(`${dir.path}/1 (mirror.test)`);
  expect(await from("elsewhere.test")).toBeUndefined();
  const elsewhere = { username: "u", password: "p", serverAddress: "https://elsewhere.test" };
  expect(await from("reg.test", { request: elsewhere })).toBe("yaml");
});

test("askHelper() speaks the protocol, and repeats nothing of what it reads", async () => {
  using dir = tempDir();
  const helper = (name: string, script: string) => {
    const path = join(dir.path, `docker-credential-${name}`);
    writeFileSync(path, `#!/bin/sh\n${script}\n`);
    chmodSync(path, 0o755);
  };
  helper("good", `read host; echo "{\\"Username\\":\\"$1\\",\\"Secret\\":\\"for $host\\"}"`);
  helper("token", `echo '{"Username":"<token>","Secret":"t"}'`);
  helper("nothing", "echo credentials not found in native keychain; exit 1");
  helper("broken", "echo pa55word; exit 3");
  helper("odd", "echo pa55word");
  helper("endless", "yes pa55word");
  const ask = (name: string) => askHelper(ctx, name, "docker.io", dir.path);
  expect(await ask("good")).toEqual({
    username: "get",
    password: "for https://index.docker.io/v1/",
  });
  expect(await ask("token")).toEqual({ identityToken: "t" });
  expect(await ask("nothing")).toBeUndefined();
  for (const name of ["broken", "odd", "endless", "missing", "../good", "a b"]) {
    const err: unknown = await ask(name).then(
      () => "no failure",
      (cause: unknown) => cause,
    );
    expect(err).toBeInstanceOf(Error);
    expect(describe(err)).not.toContain("pa55word");
  }
});

test("of a file that cannot be parsed nothing is repeated: a password may lack its quotes", () => {
  using dir = tempDir();
  const path = join(dir.path, "config.json");
  const upstream = upstreamOf("reg.test");
  const attempts = [
    () => {
      writeFileSync(path, '{"auths":{"reg.test":{"auth":pa55word}}}');
      findInDockerConfig(path, "reg.test", "app", noWarning);
    },
    () => parseHosts("[header]\nauthorization = pa55word\n", path, upstream, noWarning),
    () =>
      parseRegistries("configs:\n  a:\n    auth:\n      password: *pa55word\n", path, noWarning),
  ];
  for (const attempt of attempts) {
    let reason = "no failure";
    try {
      attempt();
    } catch (err) {
      reason = describe(err);
    }
    expect(reason).toContain(path);
    expect(reason).not.toContain("pa55word");
  }
});
