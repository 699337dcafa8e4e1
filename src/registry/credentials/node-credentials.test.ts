import { expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe } from "../../lib/errors.ts";
import { silentLog } from "../../lib/log.ts";
import { parseRegistries } from "../hosts/registries-yaml.ts";
import { askHelper } from "./credential-helper.ts";
import { findInDockerConfig } from "./docker-config.ts";
import { findCredentials } from "./node-credentials.ts";

const ctx = { signal: new AbortController().signal, log: silentLog };

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
    const found = findInDockerConfig(path, host, repository);
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
  expect(findInDockerConfig(join(dir.path, "none"), "x", "y")).toBeUndefined();
});

test("findInDockerConfig() prefers a helper of the host to auths, and those to the general store", () => {
  using dir = tempDir();
  const path = dockerConfig(dir.path, {
    auths: { "a.test": login("a"), "b.test": login("b") },
    credHelpers: { "a.test": "special" },
    credsStore: "general",
  });
  expect(findInDockerConfig(path, "a.test", "x")).toEqual({ kind: "helper", helper: "special" });
  expect(findInDockerConfig(path, "b.test", "x")?.kind).toBe("stored");
  expect(findInDockerConfig(path, "c.test", "x")).toEqual({ kind: "helper", helper: "general" });
  writeFileSync(path, "{");
  expect(() => findInDockerConfig(path, "a.test", "x")).toThrow(path);
});

test("findCredentials() asks the request, registries.yaml and Docker's files, each for its own host", async () => {
  using dir = tempDir();
  const sources = {
    request: { username: "request", password: "x" },
    registries: parseRegistries(
      "configs: {reg.test: {auth: {username: yaml, password: x}}}",
      "yaml",
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
    return (await findCredentials(ctx, { ...sources, ...given }, subject))?.from;
  };
  const none = { request: undefined } as never;
  expect(await from("reg.test")).toBe("the request");
  expect(await from("reg.test", none)).toBe("yaml");
  expect(await from("mirror.test")).toBe(`${dir.path}/1 (mirror.test)`);
  expect(await from("elsewhere.test")).toBeUndefined();
  const elsewhere = { username: "u", password: "p", serverAddress: "https://elsewhere.test" };
  expect(await from("reg.test", { request: elsewhere })).toBe("yaml");
});

test("askHelper() speaks the protocol, and repeats nothing of what it hears", async () => {
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
