import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { CribCommand } from "../harness/crib-command.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { startFlakyRegistry } from "../harness/flaky-registry.ts";
import { demoImage as image } from "../harness/pod.ts";

let daemon: Daemon;
let crib: CribCommand;
let dir: string;

beforeAll(async () => {
  dir = mkdtempSync("/tmp/crib-commands-");
  daemon = await Daemon.start({
    demoImage: true,
    images: `docker_config_files = ["${dir}/logins/docker.json"]`,
  });
  crib = new CribCommand(daemon);
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
});

const sh = (script: string) => [image, "sh", "-c", script];

test("kill, wait, pause, unpause, top and rename of a running container", async () => {
  const script = "trap 'echo hup' HUP; trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done";
  await crib.ok("run", "-d", "--name", "web", "--restart", "always", ...sh(script));
  await eventually(async () => expect(await crib.ok("logs", "web")).toBe("up\n"));
  expect(await crib.ok("kill", "-s", "hup", "web")).toBe("web\n");
  await eventually(async () => expect(await crib.ok("logs", "web")).toBe("up\nhup\n"));

  const [header = "", first = ""] = (await crib.ok("top", "web")).split("\n");
  expect(header.split(/ {2,}/)).toEqual(["UID", "PID", "PPID", "STARTED", "TIME", "COMMAND"]);
  expect(first).toContain("sh -c trap");
  const processes = JSON.parse(await crib.ok("top", "web", "-o", "json"));
  expect(processes[0]).toMatchObject({ uid: 0, command: expect.stringContaining("sh -c") });

  expect(await crib.ok("pause", "web")).toBe("web\n");
  expect(await crib.ok("ps")).toMatch(/ web +web .* paused /);
  expect((await crib.run(["pause", "web"])).stderr).toMatch(/it is paused\n$/);
  const refused = await crib.run(["exec", "web", "true"]);
  expect([refused.code, refused.stderr]).toEqual([125, expect.stringContaining("paused")]);
  // It is known to the kernel, and a new daemon finds it there.
  await daemon.end("SIGKILL");
  await daemon.start();
  expect(await crib.ok("ps")).toMatch(/ paused /);
  await crib.ok("unpause", "web");
  expect(await crib.ok("exec", "web", "echo", "back")).toBe("back\n");
  expect((await crib.run(["unpause", "web"])).stderr).toMatch(/it is not paused\n$/);

  await crib.ok("run", "-d", "--name", "other", ...sh("sleep 1000"));
  expect((await crib.run(["rename", "web", "other"])).stderr).toContain('"other" is taken');
  expect((await crib.run(["rename", "web", "No!"])).stderr).toContain("not a pod's name");
  await crib.ok("rename", "web", "shop");
  expect(await crib.ok("exec", "shop", "hostname")).toBe("web\n");
  expect(await crib.run(["exec", "web", "true"])).toMatchObject({ code: 125 });
  await crib.ok("run", "--rm", "--name", "web", ...sh("true"));

  const waiting = crib.start(["wait", "shop", "other"]);
  await crib.ok("pause", "shop");
  // `stop` lets it go on first, so that it sees its signal.
  await crib.ok("stop", "--container", "shop");
  await crib.ok("kill", "other");
  expect(await waiting.stdout.text()).toBe("7\n137\n");
  expect(await waiting.exited).toBe(0);
  // Whoever kills it does not want it back.
  await crib.ok("start", "shop");
  await crib.ok("kill", "shop");
  expect(await crib.ok("wait", "shop")).toBe("137\n");
  expect((await crib.run(["kill", "shop"])).stderr).toContain("it is exited, not running");
  expect((await crib.run(["kill", "-s", "FROB", "shop"])).code).toBe(2);
  await crib.ok("rm", "shop", "other");
});

test("Ctrl-C ends crib wait, and the container goes on", async () => {
  await crib.ok("run", "-d", "--name", "long", ...sh("sleep 1000"));
  const child = crib.start(["wait", "long"]);
  await Bun.sleep(200);
  child.kill("SIGINT");
  expect(await child.exited).toBe(130);
  expect(await child.stderr.text()).toBe("");
  expect(await crib.ok("ps")).toContain("long");
  await crib.ok("rm", "-f", "long");
});

test("logs of a time", async () => {
  await crib.ok("run", "--name", "log", ...sh("echo one; sleep 1.1; echo two"));
  const lines = (await crib.ok("logs", "-t", "log")).trim().split("\n");
  const [first = "", second = ""] = lines.map((line) => line.split(" ")[0] ?? "");
  expect(await crib.ok("logs", "--until", first, "log")).toBe("one\n");
  expect(await crib.ok("logs", "--since", second, "--tail", "all", "log")).toBe("two\n");
  expect(await crib.ok("logs", "-f", "--until", first, "log")).toBe("one\n");
  expect((await crib.run(["logs", "--until", "soon", "log"])).code).toBe(2);
  await crib.ok("rm", "log");
});

test("tag, rmi and history: the image stays until its last name goes", async () => {
  await crib.ok("tag", image, "local/one:1");
  await crib.ok("tag", "local/one:1", "local/two");
  const names = async () => (await crib.ok("images")).match(/local\/(one|two)\S*/g);
  expect(await names()).toEqual(expect.arrayContaining(["local/one:1", "local/two:latest"]));
  expect(await crib.ok("run", "--rm", "--pull", "never", "local/two", "echo", "ran")).toBe("ran\n");
  await crib.ok("rmi", "local/one:1", "local/two");
  expect(await names()).toBeNull();
  expect(await crib.ok("images")).toContain("crib.local/demo");
  expect((await crib.run(["tag", "none", "local/x"])).code).toBe(3);
  expect((await crib.run(["tag", image, "local/x@sha256:0"])).code).not.toBe(0);
  const history = await crib.ok("history", image);
  expect(history).toMatch(/^LAYER +AGE +CREATED BY +SIZE +COMMENT\n[0-9a-f]{13} /);
  const steps = JSON.parse(await crib.ok("history", image, "-o", "json"));
  expect(steps[0].layer.sizeBytes).toBeGreaterThan(0);
});

test("volumes: made, listed, used, and removed by nobody while they are used", async () => {
  expect(await crib.ok("volume", "create", "-l", "a=b", "data")).toBe("data\n");
  const anonymous = (await crib.ok("volume", "create")).trim();
  expect(anonymous).toMatch(/^[0-9a-f]{32}$/);
  await crib.ok("run", "--name", "writer", "-v", "data:/data", ...sh("echo kept >/data/file"));
  expect(await crib.ok("volume", "ls", "-q", "-l", "a=b")).toBe("data\n");
  expect(await crib.ok("volume", "ls")).toMatch(/^VOLUME +USED BY +AGE\n/);
  const [inspected] = JSON.parse(await crib.ok("volume", "inspect", "data"));
  expect(inspected).toMatchObject({
    name: "data",
    labels: { a: "b" },
    usedBy: [expect.any(String)],
  });
  expect(readFileSync(`${inspected.path}/file`, "utf8")).toBe("kept\n");
  expect(await crib.run(["volume", "rm", "data"])).toMatchObject({
    code: 1,
    stderr: 'crib: volume "data" is used by container writer\n',
  });
  expect(await crib.ok("volume", "prune", "--dry-run")).toBe(`${anonymous}\n`);
  expect((await crib.run(["volume", "prune"])).stderr).toContain("give --force");
  expect(await crib.ok("volume", "prune", "-f")).toBe(`${anonymous}\n`);
  await crib.ok("rm", "writer");
  await daemon.end("SIGKILL");
  await daemon.start();
  expect(await crib.ok("run", "--rm", "-v", "data:/d", image, "cat", "/d/file")).toBe("kept\n");
  await crib.ok("volume", "rm", "data");
  expect((await crib.run(["volume", "rm", "data"])).code).toBe(3);
  await crib.ok("volume", "rm", "-f", "data");
  expect((await crib.run(["volume", "create", "../x"])).code).toBe(2);
  expect((await crib.run(["volume", "sl"])).stderr).toContain("did you mean ls?");
});

test("prune: what has ended, and images that nothing uses, and nothing else", async () => {
  await crib.ok("run", "--name", "ended", ...sh("true"));
  await crib.ok("run", "-d", "--name", "running", ...sh("sleep 1000"));
  const dry = await crib.ok("prune", "containers", "--dry-run");
  expect(dry).toMatch(/^ended [0-9a-f]{13}\n$/);
  expect(await crib.ok("prune", "images", "--all", "--dry-run")).toBe("");
  expect(await crib.ok("prune", "all", "-f")).toBe(dry);
  expect(await crib.ok("pods", "-q")).toMatch(/^[0-9a-f]{64}\n$/);
  expect(await crib.ok("prune", "caches", "-f")).toBe("");
  await crib.ok("rm", "-f", "running");
});

test("login keeps what the registry accepts where pulls look, and logout takes it away", async () => {
  const accepted = `Basic ${btoa("me:secret")}`;
  await using registry = await startFlakyRegistry({}, ({ headers, path }) => {
    if (headers["authorization"] === accepted) {
      return path === "/v2/" ? { kind: "status", status: 200 } : undefined;
    }
    return {
      kind: "status",
      status: 401,
      headers: { "www-authenticate": 'Basic realm="test"' },
    };
  });
  const config = `${dir}/config.toml`;
  const file = `${dir}/logins/docker.json`;
  mkdirSync(`${dir}/logins`);
  writeFileSync(config, `[images]\ndocker_config_files = ["${file}"]\n`);
  const other = { auths: { "other.test": { auth: "eDp5" } }, credHelpers: { a: "b" } };
  writeFileSync(file, JSON.stringify(other));
  const login = (password: string) =>
    crib.run(
      ["login", "-u", "me", "--password-stdin", "--config", config, registry.host],
      new Blob([`${password}\n`]),
    );
  const refused = await login("wrong");
  expect([refused.code, refused.stderr]).toEqual([
    1,
    expect.stringMatching(/^crib: login to .*401/),
  ]);
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(other);
  expect(await login("secret")).toMatchObject({ code: 0, stderr: "" });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const kept = JSON.parse(readFileSync(file, "utf8"));
  expect(kept).toEqual({
    ...other,
    auths: { ...other.auths, [registry.host]: { auth: btoa("me:secret") } },
  });
  // The daemon's next pull shows it.
  const { stderr } = await crib.run(["pull", `${registry.host}/none:1`]);
  expect(stderr).toContain("404 NAME_UNKNOWN");
  expect(stderr).not.toContain("401");
  await crib.ok("logout", "--config", config, registry.host);
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(other);
  const again = await crib.run(["logout", "--config", config, registry.host]);
  expect([again.code, again.stderr]).toEqual([0, expect.stringContaining("has no login")]);
  expect((await crib.run(["login", "--config", config, registry.host])).code).toBe(2);
});
