import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { Daemon } from "../harness/daemon.ts";
import {
  type FlakyRegistry,
  type Misbehaviour,
  type Request,
  startFlakyRegistry,
} from "../harness/flaky-registry.ts";
import { makeImage, makeLayer } from "../harness/images/oci-image.ts";
import { packTar } from "../harness/images/tar.ts";
import { type TempDir, tempDir } from "../harness/temp-dir.ts";

const image = makeImage([makeLayer(packTar([{ type: "file", path: "file", data: "data" }]))], {});
const basic = (username: string, password: string) => `Basic ${btoa(`${username}:${password}`)}`;
/** Of this name, which no resolver knows. */
const nowhere = "nowhere.invalid";

describe("files of other tools that say how registries are reached", () => {
  const resources = new AsyncDisposableStack();
  let dir: TempDir;
  let registry: FlakyRegistry;
  let daemon: Daemon;
  const file = (name: string) => join(dir.path, name);

  beforeAll(async () => {
    dir = resources.use(tempDir());
    registry = resources.use(
      await startFlakyRegistry({ "app:1": image, "team/app:1": image, "public/app:1": image }),
    );
    daemon = resources.use(
      await Daemon.start({
        registryConfigDir: dir.path,
        images: `registries_files = ["${file("registries.yaml")}"]\ndocker_config_files = ["${file("config.json")}"]`,
      }),
    );
  });
  afterAll(() => resources.disposeAsync());

  const write = (name: string, content: unknown) => {
    mkdirSync(join(dir.path, name, ".."), { recursive: true });
    writeFileSync(file(name), typeof content === "string" ? content : JSON.stringify(content));
  };
  const pull = async (name: string): Promise<ConnectError | undefined> => {
    try {
      await daemon.cri.image.pullImage({ image: { image: name } });
      return undefined;
    } catch (err) {
      return ConnectError.from(err);
    }
  };
  /** Lets only those in who come with this. */
  const wants = (authorization: string) => (request: Request) =>
    request.headers["authorization"] === authorization ? undefined : challenge;
  const challenge: Misbehaviour = {
    kind: "status",
    status: 401,
    headers: { "www-authenticate": 'Basic realm="test"' },
  };
  const everybody = () => undefined;

  test("a registry of this machine is asked by http where it speaks no TLS", async () => {
    const port = registry.host.split(":")[1];
    for (const host of ["127.0.0.1", "localhost"]) {
      expect(await pull(`${host}:${port}/app:1`)).toBeUndefined();
    }
    // Whoever has been asked for TLS by a file is not asked without.
    write(`${registry.host}/hosts.toml`, "skip_verify = false");
    expect((await pull(`${registry.host}/team/app:1`))?.message).toContain("no TLS handshake");
    write(`${registry.host}/hosts.toml`, "");
  });

  test.each([
    ["an empty file", ""],
    ["no JSON", "{"],
    ["a credsStore that is not installed", { credsStore: "not-installed" }],
    ["a helper that is not installed", { credHelpers: { "reg.test": "not-installed" } }],
    ["a wrong entry of this host", { auths: { "reg.test": { auth: "no base64!" } } }],
    ["a wrong entry of another host", { auths: { "other.test": 1 } }],
  ])("Docker's config.json: %s costs no pull that needs none", async (_, config) => {
    write("reg.test/hosts.toml", `server = "${registry.url}"\nskip_verify = true`);
    write("config.json", config);
    // A public registry: it wants a token, and gives one to anybody.
    registry.behave = ({ path, headers }) => {
      if (path === "/token") return { kind: "status", status: 200, body: '{"token":"anybodys"}' };
      if (headers["authorization"] === "Bearer anybodys") return undefined;
      const realm = { "www-authenticate": `Bearer realm="${registry.url}/token"` };
      return { kind: "status", status: 401, headers: realm };
    };
    expect(await pull("reg.test/app:1")).toBeUndefined();
    registry.behave = everybody;
  });

  test("credentials of a host are found beside entries that are wrong", async () => {
    write("reg.test/hosts.toml", `server = "${registry.url}"`);
    write(`${nowhere}/hosts.toml`, "");
    registry.behave = wants(basic("user", "pw"));
    write("config.json", {
      auths: {
        [registry.host]: { auth: btoa("user:pw") },
        "other.test": { auth: "no base64!" },
        "third.test": 1,
      },
      credsStore: "not-installed",
    });
    expect(await pull("reg.test/app:1")).toBeUndefined();
  });

  test("a refused pull says why configured credentials were of no use", async () => {
    write("reg.test/hosts.toml", `server = "${registry.url}"`);
    registry.behave = wants(basic("user", "pw"));
    write("config.json", { credHelpers: { [registry.host]: "not-installed" } });
    const refused = await pull("reg.test/app:1");
    expect(refused?.code).toBe(Code.Unauthenticated);
    expect(refused?.message).toContain("docker-credential-not-installed is not in PATH");
    expect(daemon.log).toContain("docker-credential-not-installed is not in PATH");
    registry.behave = everybody;
    write("config.json", {});
  });

  test.each(["00123", "1e5", "12345678901234567890", "true", "0x10", "2001-01-01"])(
    "registries.yaml: the password %s is sent as it is written",
    async (password) => {
      write(
        "registries.yaml",
        `mirrors: {yaml.test: {endpoint: ["${registry.url}"]}}\nconfigs:\n  "${registry.host}":\n    auth:\n      username: 007\n      password: ${password}\n`,
      );
      registry.behave = wants(basic("007", password));
      expect(await pull("yaml.test/app:1")).toBeUndefined();
      registry.behave = everybody;
    },
  );

  test.each([
    ["^rancher/(.*)", "team/$".concat("{1}"), "rancher/app"],
    ["(?i)^RANCHER/", "team/", "rancher/app"],
    ["x", "", "xtxexaxmx/axxpp"],
  ])("registries.yaml: the rewrite %s to %s is Go's", async (pattern, template, repository) => {
    const rewrite = JSON.stringify({ "(": "no pattern", [pattern]: template });
    write(
      "registries.yaml",
      `mirrors: {yaml.test: {endpoint: ["${registry.url}"], rewrite: ${rewrite}}}`,
    );
    expect(await pull(`yaml.test/${repository}:1`)).toBeUndefined();
    expect(daemon.log).toMatch(/mirrors\.yaml\.test\.rewrite.*no pattern/);
  });

  test.each(["mirrors: [", "mirrors: 1", 'mirrors: {"*": {endpoint: ["ftp://x"]}}'])(
    "registries.yaml: %s costs no pull of a registry that it says nothing about",
    async (yaml) => {
      write("registries.yaml", yaml);
      write("_default/hosts.toml", "[host");
      expect(
        await pull(`${registry.host.replace("127.0.0.1", "localhost")}/app:1`),
      ).toBeUndefined();
      expect(daemon.log).toContain(file("registries.yaml"));
    },
  );

  test.each([
    ["not-found", 404, Code.NotFound],
    ["unauthenticated", 401, Code.Unauthenticated],
  ])(
    "a mirror's %s decides where the registry cannot be reached, and both are named",
    async (_, status, code) => {
      write(`${nowhere}/hosts.toml`, `[host."${registry.url}"]`);
      registry.behave = () => ({ kind: "status", status });
      const failure = await pull(`${nowhere}/app:1`);
      registry.behave = everybody;
      expect(failure?.code).toBe(code);
      expect(failure?.message).toContain(`${registry.url}/v2/app/manifests/1: ${status}`);
      expect(failure?.message).toContain(`https://${nowhere}/v2/app/manifests/1: `);
      expect(failure?.message.indexOf(registry.host)).toBeLessThan(
        failure?.message.indexOf(`https://${nowhere}`) ?? 0,
      );
    },
  );
});
