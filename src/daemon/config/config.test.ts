import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempDir } from "../../../test/harness/temp-dir.ts";
import { loadConfig, takeProxyVariables } from "./config.ts";
import { parseConfig, readConfigText } from "./config-file.ts";
import { configReference } from "./config-reference.ts";
import { configDefaultText } from "./config-text.ts";
import { describeConfig } from "./describe-config.ts";

const defaults = parseConfig("", "empty");

async function withFile(content: string, use: (path: string) => Promise<void>): Promise<void> {
  using temp = tempDir();
  const dir = temp.path;
  const file = join(dir, "config.toml");
  writeFileSync(file, content);
  await use(file);
}

test("configDefaultText() parses to the defaults, commented and uncommented", () => {
  const text = configDefaultText();
  expect(parseConfig(text, "default")).toEqual(defaults);
  const uncommented = text.replace(/^#(?! )/gm, "");
  expect(parseConfig(uncommented, "default")).toEqual(defaults);
  const assignments = uncommented.split("\n").filter((line) => / = /.test(line) && line[0] !== "#");
  expect(assignments.length).toBeGreaterThan(15);
});

test("configDefaultText() has no line without a comment sign", () => {
  for (const line of configDefaultText().split("\n")) expect(line).toMatch(/^(#.*)?$/);
});

test("parseConfig() reads every kind of value", () => {
  const config = parseConfig(
    `listen = "unix:///tmp/x.sock"
[log]
level = "debug"
[images]
pinned = ["a", "b/*"]
max_parallel_downloads = 7
[runtime.handlers.youki]
path = "/usr/bin/youki"
args = ["--debug"]
container_annotations = ["run.oci.*"]
[runtime]
default_handler = "youki"
`,
    "f",
  );
  expect(config.listen).toBe("unix:///tmp/x.sock");
  expect(config.log).toEqual({ level: "debug", format: "auto" });
  expect(config.images.pinned).toEqual(["a", "b/*"]);
  expect(config.images.maxParallelDownloads).toBe(7);
  expect(config.runtime.defaultHandler).toBe("youki");
  expect(config.runtime.handlers["youki"]).toEqual({
    ...{ type: "oci", path: "/usr/bin/youki", args: ["--debug"] },
    ...{ podAnnotations: [], containerAnnotations: ["run.oci.*"] },
    ...{ config: "", configPath: "", configType: "" },
  });
  expect(Object.keys(config.runtime.handlers).sort()).toEqual(["crun", "runc", "youki"]);
});

const refused: readonly [text: string, message: string][] = [
  [
    '[runtime.handlers.runc]\npod_annotations = ["["]',
    "f:2: runtime.handlers.runc.pod_annotations: expected a list of patterns",
  ],
  ["\n\nrot = 1\n", "f:3: rot: unknown key"],
  ["# x\n[log]\n\nlevel = 'loud'\n", "f:4: log.level: expected one of debug, info, warn, error"],
  ["root = 'var'", "f:1: root: expected an absolute path"],
  ["root = '/var/../etc'", "f:1: root: expected an absolute path"],
  ["root = 3", "f:1: root: expected an absolute path"],
  ["listen = 'tcp://0.0.0.0:1'", "f:1: listen: expected unix:// and an absolute path"],
  [
    `listen = 'unix:///${"x".repeat(107)}'`,
    "f:1: listen: expected a socket path of at most 107 bytes",
  ],
  [
    "[network]\nconf_dirs = [\n '/a',\n 'b',\n]\n",
    "f:2: network.conf_dirs: expected a list of absolute paths",
  ],
  [
    "[images]\nimport_registries = ['https://reg.site']",
    "f:2: images.import_registries: expected a list of registries, host[:port][/path]",
  ],
  ["log = 1", "f:1: log: expected a table"],
  [
    "[images]\nmax_parallel_downloads = 0",
    "f:2: images.max_parallel_downloads: expected a whole number from 1 to 32",
  ],
  [
    "[images]\nmax_parallel_downloads = 1.5",
    "f:2: images.max_parallel_downloads: expected a whole number from 1 to 32",
  ],
  [
    "[runtime]\ndefault_handler = 'kata'",
    "f:2: runtime.default_handler: no such handler in runtime.handlers",
  ],
  [
    "[runtime.handlers.youki]\ntype = 'oci'",
    "f:1: runtime.handlers.youki: path is missing: nothing of that name is embedded",
  ],
  [
    "[runtime.handlers.kata]\ntype = 'shim'\npath = 'kata'",
    "f:3: runtime.handlers.kata.path: expected an absolute path, or a name like io.containerd.runsc.v1",
  ],
  [
    "[runtime.handlers.runc]\ntype = 'shim'",
    "f:1: runtime.handlers.runc.path: missing: no shim is embedded",
  ],
  [
    "[runtime.handlers.a]\npath = 'io.containerd.runc.v2'",
    "f:2: runtime.handlers.a.path: expected an absolute path",
  ],
  [
    "[runtime.handlers.runc]\nconfig_path = '/a'",
    'f:2: runtime.handlers.runc.config_path: only for handlers of type "shim"',
  ],
  [
    "[runtime.handlers.a]\ntype = 'shim'\npath = '/a'\nconfig_path = '/b'\nconfig = 'c'",
    "f:5: runtime.handlers.a.config: config_path is set too: one of them is too many",
  ],
  ["[runtime.handlers.runc]\n\nbinary = 'x'", "f:3: runtime.handlers.runc.binary: unknown key"],
  [
    '[runtime.handlers."../x"]\npath = "/x"',
    'f:1: runtime.handlers."../x": expected a name of lower-case letters, digits, - and .',
  ],
  ["[__proto__]\nx = 1", "f:1: __proto__: unknown key"],
  ["[constructor]\nx = 1", "f:1: constructor: unknown key"],
  ["a = [\n1,\n2\n]\nroot = = 1", "f:5:8: root: Unexpected token"],
  ["root = '/a'\nroot = '/b'", "f:2:1: root: Defining a key multiple times is invalid"],
  ["x".repeat(65 * 1024), "f: over 65536 bytes"],
];

for (const [text, message] of refused) {
  test(`parseConfig() refuses ${JSON.stringify(text.slice(0, 50))}`, () => {
    expect(() => parseConfig(text, "f")).toThrow(message);
  });
}

const load = async (args: readonly string[], env: Record<string, string | undefined> = {}) =>
  await loadConfig(args, env, () => Promise.resolve({ readConfigText }));

test("loadConfig() takes flags over the file over the defaults", async () => {
  await withFile('root = "/data"\nstate = "/run/x"\n', async (file) => {
    const env = { CRIB_PAYLOAD: "/p", NOTIFY_SOCKET: "@n" };
    const { config, given } = await load(["--config", file, "--root", "/other"], env);
    expect(config.root).toBe("/other");
    expect(config.state).toBe("/run/x");
    expect(config.listen).toBe("unix:///run/x/crib.sock");
    expect(config.socket).toBe("/run/x/crib.sock");
    expect(config.payload).toBe("/p");
    expect(config.notifySocket).toBe("@n");
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.images.pinned)).toBe(true);
    expect(given.get("root")?.origin).toBe("command line");
    expect(given.get("state")?.origin).toBe(`${file}:2`);
  });
});

test("loadConfig() checks flags as it checks the file", async () => {
  await withFile("", async (file) => {
    expect(load(["--config", file, "--root", "relative"])).rejects.toThrow(
      "command line: root: expected an absolute path",
    );
    expect(load(["--nonsense"])).rejects.toThrow("command line");
    expect(load(["--config", `${file}.absent`])).rejects.toThrow(`read ${file}.absent`);
    const { config } = await load(["--config", file, "--log-level", "debug"]);
    expect(config.log.level).toBe("debug");
  });
});

test("loadConfig() reads drop-ins in the order of their names, key by key", async () => {
  await withFile("[images]\npinned = ['a']\nstall_seconds = 10\n", async (file) => {
    mkdirSync(`${file}.d`);
    writeFileSync(`${file}.d/20-b.toml`, "images.pinned = ['c', 'd']\n");
    writeFileSync(`${file}.d/10-a.toml`, "[images]\npinned = ['b']\nmax_parallel_unpacks = 2\n");
    writeFileSync(`${file}.d/30.toml.bak`, "nonsense");
    writeFileSync(`${file}.d/.40.toml`, "nonsense");
    writeFileSync(`${file}.d/50.toml`, "[runtime.handlers.slow]\npath = '/bin/slow'\n");
    const { config, given } = await load(["--config", file]);
    expect(config.images.pinned).toEqual(["c", "d"]);
    expect(config.images.stallSeconds).toBe(10);
    expect(config.images.maxParallelUnpacks).toBe(2);
    expect(Object.keys(config.runtime.handlers).sort()).toEqual(["crun", "runc", "slow"]);
    expect(given.get("images.pinned")?.origin).toBe(`${file}.d/20-b.toml:1`);
    expect(config.files.map((name) => name.slice(file.length))).toEqual([
      ...["", ".d/10-a.toml", ".d/20-b.toml", ".d/50.toml"],
    ]);
    writeFileSync(`${file}.d/60.toml`, "# x\n[runtime]\ndefault_handler = 'fast'\n");
    expect(load(["--config", file])).rejects.toThrow(
      `${file}.d/60.toml:3: runtime.default_handler: no such handler in runtime.handlers`,
    );
  });
});

test("streaming.address is one address of the node, and a port", () => {
  for (const address of ["127.0.0.1:0", "[::1]:10010", "10.1.2.3:65535"]) {
    expect(parseConfig(`streaming.address = "${address}"`, "f").streaming.address).toBe(address);
  }
  for (const address of [
    "",
    "localhost:0",
    "0.0.0.0:0",
    "[::]:0",
    "::1:0",
    "127.0.0.1",
    "1.2.3.4:65536",
  ]) {
    expect(() => parseConfig(`streaming.address = "${address}"`, "f")).toThrow(/IP address/);
  }
});

test("loadConfig() takes proxies from the environment where the file says nothing", async () => {
  const env: Record<string, string | undefined> = {
    HTTP_PROXY: "http://p:1",
    https_proxy: "http://s:2",
    NO_PROXY: "a.test,,10.0.0.0/8",
  };
  const taken = takeProxyVariables(env);
  expect(env).toEqual({});
  await withFile('proxy.http = "http://f:3"\n', async (file) => {
    const { config, given } = await load(["--config", file], taken);
    expect(config.proxy).toEqual({
      ...{ http: "http://f:3", https: "http://s:2" },
      none: ["a.test", "10.0.0.0/8"],
    });
    expect(given.get("proxy.https")?.origin).toBe("environment HTTPS_PROXY");
  });
});

test("docs/configuration.md is what the table of settings makes (UPDATE_DOCS=1 writes it)", () => {
  const file = join(import.meta.dir, "../../../docs/configuration.md");
  if (Bun.env["UPDATE_DOCS"] === "1") writeFileSync(file, configReference());
  expect(readFileSync(file, "utf8")).toBe(configReference());
});

test("describeConfig() shows every setting and no secrets", async () => {
  const text = `proxy.http = "http://user:geheim1@proxy:3128"
[runtime.handlers.kata]
type = "shim"
path = "io.containerd.kata.v2"
config = "a = 1\\npassword = \\"geheim2\\"\\napi_key: geheim3"
args = ["--token=geheim4"]
`;
  await withFile(text, async (file) => {
    const { given } = await load(["--config", file], { HTTPS_PROXY: "http://u:geheim5@s" });
    const described = describeConfig(given);
    expect(JSON.stringify(described)).not.toContain("geheim");
    const byKey = new Map(described.map((setting) => [setting.key, setting]));
    expect(byKey.get("proxy.http")).toMatchObject({
      ...{ value: "http://***@proxy:3128", origin: `${file}:1` },
    });
    expect(byKey.get("log.level")).toMatchObject({ value: "info", origin: "default" });
    expect(byKey.has("runtime.handlers.kata.path")).toBe(true);
  });
});
