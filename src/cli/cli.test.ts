import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { runCrib } from "../../test/harness/command-line.ts";
import { serveFakeCri } from "../../test/harness/fake-cri.ts";
import * as pb from "../gen/runtime/v1/api_pb.ts";
import { formatCommandHelp, helpWidth } from "./help.ts";
import { formatMarkdown } from "./pages/markdown.ts";
import { commonOptions } from "./table/spec.ts";
import { allCommands, commandTable } from "./table/table.ts";

const { CONTAINER_RUNNING, CONTAINER_EXITED } = pb.ContainerState;
const createdAt = BigInt(Date.parse("2026-01-01T00:00:00Z")) * 1_000_000n;

const [podId, webId, oldId] = ["a".repeat(64), "b".repeat(64), "c".repeat(64)];
const web = create(pb.ContainerSchema, {
  id: webId,
  podSandboxId: podId,
  metadata: { name: "web" },
  image: { image: "sha256:1", userSpecifiedImage: "docker.io/library/nginx:1" },
  state: CONTAINER_RUNNING,
  createdAt,
});
const old = create(pb.ContainerSchema, { ...web, id: oldId, state: CONTAINER_EXITED });
const pod = create(pb.PodSandboxSchema, {
  id: podId,
  metadata: { name: "shop", namespace: "default", uid: "u" },
  createdAt,
});

function listContainers(request: pb.ListContainersRequest) {
  const { id, state, podSandboxId } = request.filter ?? {};
  const containers = [web, old].filter((container) => {
    if (id !== undefined && id !== "" && container.id !== id) return false;
    if (podSandboxId && container.podSandboxId !== podSandboxId) return false;
    return state === undefined || container.state === state.state;
  });
  return { containers };
}
const lists = { listContainers, listPodSandbox: () => ({ items: [pod] }) };

describe("usage", () => {
  test("help is shown for crib and for each command, with examples", async () => {
    expect((await runCrib([])).stdout).toContain("Exit codes:");
    const { code, stdout } = await runCrib(["rm", "--help"]);
    expect(stdout).toContain(
      "Usage: crib rm [OPTIONS] NAME|ID...\n       crib rm [OPTIONS] --all\n",
    );
    expect([code, stdout]).toEqual([0, expect.stringContaining("crib rm -f web")]);
    for (const argv of [[], ...Object.keys(allCommands).map((name) => ["help", name])]) {
      const { stdout: help } = await runCrib(argv);
      expect(help.split("\n").filter((line) => line.length > 80)).toEqual([]);
    }
    expect(helpWidth(30)).toBe(40);
    const narrow = formatCommandHelp("run", commandTable.run, 40).split("Examples:")[0] ?? "";
    const isProse = (line: string) => !line.includes("--") && !line.startsWith("Usage");
    expect(narrow.split("\n").filter((line) => isProse(line) && line.length > 40)).toEqual([]);
    expect((await runCrib(["help", "ps"])).stdout).toBe((await runCrib(["ps", "-h"])).stdout);
  });

  test("-h is help, but of run the host name, as docker's", async () => {
    const { stdout } = await runCrib(["run", "--help"]);
    expect(stdout).toContain("-h, --hostname NAME");
    expect(stdout).not.toContain("-h, --help");
    expect((await runCrib(["run", "-h"])).stderr).toContain("option -h needs a value");
    expect((await runCrib(["exec", "-w", "/", "web", "ls"])).stderr).toContain("sh -c 'cd DIR");
  });

  test.each([
    [["frob"], 'unknown command "frob"'],
    [["help", "frob"], 'unknown command "frob"'],
    [["imgaes"], 'unknown command "imgaes"; did you mean crib images?'],
    [["load", "x.tar"], 'unknown command "load"; did you mean crib image import?'],
    [["--frob", "ps"], "unknown option --frob: options follow the command"],
    [["image", "imprt", "x"], "not import, export, save, inspect or verify; did you mean import?"],
    [["config", "shwo"], "did you mean show?"],
    [["image", "ls"], "did you mean crib images?"],
    [["ps", "--format", "json"], "option --format is not there; in its place: --output json"],
    [["ps", "--filter", "name=web"], "option --filter is not there"],
    [
      ["inspect", "-f", "{{.State}}", "web"],
      "option -f is not there; in its place: what is printed",
    ],
    [["ps", "--output", "yaml"], "--output yaml: not table or json"],
    [["ps", "--frob"], "unknown option --frob"],
    [["rm"], "either names or --all"],
    [["rm", "--all", "web"], "either names or --all"],
    [["rmi"], "either images or --prune"],
    [["stop"], "an argument is missing"],
    [["logs", "--since", "yesterday", "web"], "neither 10m nor a time"],
    [["ps", "--socket", "tcp://x"], "not unix:///path"],
    [["inspect", "--type", "frob", "web"], "--type frob: not container, pod or image"],
    [["port-forward", "web", "0"], "not [LOCAL:]REMOTE"],
  ])("crib %p is a usage error", async (argv, message) => {
    const { code, stderr } = await runCrib(argv);
    expect(stderr).toContain(message);
    expect(code).toBe(2);
  });

  test.each([
    [["run", "--device", "null", "x"], "not /HOST[:/CONTAINER[:rwm]]"],
    [["run", "--foo", "busybox"], "unknown option --foo"],
    [["exec", "-it", "web", "sh"], "stdin is no terminal"],
    [["exec", "-i", "--timeout", "1", "web", "sh"], "--timeout excludes"],
    [["attach", "--detach-keys", "ctrl-1", "web"], "not keys as in ctrl-p,ctrl-q"],
    [["run", "--publish", "80", "x"], "not [IP:]HOST:CONTAINER[/udp]"],
  ])("crib %p fails as docker does, with 125: no code of the program's", async (argv, message) => {
    const { code, stderr } = await runCrib(argv);
    expect(stderr).toContain(message);
    expect(code).toBe(125);
  });
});

describe("the daemon", () => {
  test("not there is exit code 4 and says what to do", async () => {
    const { code, stderr } = await runCrib(["ps", "--socket", "/nonexistent/crib.sock"]);
    expect(stderr).toBe(
      "crib: connect to /nonexistent/crib.sock: no such socket; is `crib serve` running?\n",
    );
    expect(code).toBe(4);
  });

  test("an error of its is one printable line, with its own exit code", async () => {
    await using cri = await serveFakeCri({
      listContainers: () => {
        throw new ConnectError("state: \x1b[2Jbroken", Code.Internal);
      },
    });
    const response = await runCrib(["logs", "web", "--socket", cri.endpoint]);
    expect(response).toEqual({ code: 1, stdout: "", stderr: "crib: state: �[2Jbroken\n" });
  });

  test("reports a registry that cannot be reached as exit code 4", async () => {
    await using cri = await serveFakeCri(
      {},
      {
        pullImage: () => {
          throw new ConnectError("RegistryUnavailable: pull x: ENOTFOUND", Code.Unknown);
        },
      },
    );
    const { code, stderr } = await runCrib(["pull", "x", "--socket", cri.endpoint]);
    expect([code, stderr]).toEqual([4, "crib: RegistryUnavailable: pull x: ENOTFOUND\n"]);
  });

  test("its version stands beside ours, and none is no failure", async () => {
    const version = () => ({ runtimeName: "crib", runtimeVersion: "9", runtimeApiVersion: "v1" });
    await using cri = await serveFakeCri({ version });
    const variables = { CRIB_SOCKET: cri.endpoint };
    expect((await runCrib(["version"], { variables })).stdout).toContain("crib 9 (CRI v1)");
    const { code, stdout } = await runCrib(["version", "--socket", "/nonexistent/s"]);
    expect([code, stdout]).toEqual([0, expect.stringContaining("not running")]);
  });
});

describe("lists", () => {
  test("ps shows the running containers as columns, ids, or the proto's JSON", async () => {
    await using cri = await serveFakeCri(lists);
    const variables = { CRIB_SOCKET: cri.endpoint };
    expect(
      (await runCrib(["ps"], { variables })).stdout.split("\n").map((l) => l.split(/ {3,}/)),
    ).toEqual([
      ["CONTAINER", "NAME", "POD", "IMAGE", "STATE", "AGE"],
      ["bbbbbbbbbbbbb", "web", "shop", "docker.io/library/nginx:1", "running", "60s"],
      [""],
    ]);
    expect((await runCrib(["ps", "-aq"], { variables })).stdout).toBe(`${webId}\n${oldId}\n`);
    const json = JSON.parse((await runCrib(["ps", "-o", "json"], { variables })).stdout);
    expect(json.containers[0].state).toBe("CONTAINER_RUNNING");
  });

  test("pods and images", async () => {
    const image = { id: `sha256:${"d".repeat(64)}`, repoTags: ["a:1", "a:2"], size: 1_234_567n };
    await using cri = await serveFakeCri(lists, { listImages: () => ({ images: [image] }) });
    const variables = { CRIB_SOCKET: cri.endpoint };
    expect((await runCrib(["pods"], { variables })).stdout).toMatch(/shop +default +ready +- +60s/);
    expect((await runCrib(["images"], { variables })).stdout).toMatch(/a:2 +d{13} +1.2 MB +no/);
  });
});

describe("logs", () => {
  const log = [
    "2026-01-01T00:00:00.000000001Z stdout F one",
    "2026-01-01T00:00:00.000000002Z stdout P tw",
    "2026-01-01T00:00:00.000000003Z stderr F warning",
    "2026-01-01T00:00:00.000000004Z stdout F o",
    "2026-01-01T00:00:00.000000005Z stdout F ",
    "",
  ].join("\n");

  async function serveLog() {
    const cri = await serveFakeCri({
      ...lists,
      containerStatus: () => ({ status: { logPath: `${cri.dir}/0.log` } }),
      podSandboxStatus: () => ({ info: { info: JSON.stringify({ logDirectory: cri.dir }) } }),
    });
    writeFileSync(`${cri.dir}/0.log`, log);
    return cri;
  }

  test("join what was split and separate stdout from stderr", async () => {
    await using cri = await serveLog();
    const response = await runCrib(["logs", "web", "--socket", cri.endpoint]);
    expect(response).toEqual({ code: 0, stdout: "one\ntwo\n\n", stderr: "warning\n" });
  });

  test("--since leaves away what was before", async () => {
    await using cri = await serveLog();
    writeFileSync(
      `${cri.dir}/0.log`,
      ["2025-12-31T23:50:00Z stdout F old", "2026-01-01T00:00:59.5Z stdout F new", ""].join("\n"),
    );
    const argv = ["logs", "--since", "5m", "web", "--socket", cri.endpoint];
    expect((await runCrib(argv)).stdout).toBe("new\n");
  });

  test("--previous are those of the container before it", async () => {
    const previous = create(pb.ContainerSchema, { ...old, createdAt: createdAt - 1n });
    const asked: string[] = [];
    await using cri = await serveFakeCri({
      ...lists,
      listContainers: () => ({ containers: [web, previous] }),
      containerStatus: ({ containerId }) => {
        asked.push(containerId);
        return { status: { logPath: `${cri.dir}/0.log` } };
      },
      podSandboxStatus: () => ({}),
    });
    writeFileSync(`${cri.dir}/0.log`, log);
    await runCrib(["logs", "--previous", "web", "--socket", cri.endpoint]);
    expect(asked).toEqual([oldId]);
    const none = await runCrib(["logs", "--previous", oldId, "--socket", cri.endpoint]);
    expect([none.code, none.stderr]).toEqual([3, 'crib: no container before "web"\n']);
  });

  test("are of no file that a container has made its log lead to", async () => {
    await using cri = await serveFakeCri({
      ...lists,
      containerStatus: () => ({ status: { logPath: `${cri.dir}/pod/web/0.log` } }),
      podSandboxStatus: () => ({
        info: { info: JSON.stringify({ logDirectory: `${cri.dir}/pod` }) },
      }),
    });
    mkdirSync(`${cri.dir}/pod`);
    mkdirSync(`${cri.dir}/other`);
    symlinkSync("../other", `${cri.dir}/pod/web`);
    writeFileSync(`${cri.dir}/other/0.log`, log);
    const response = await runCrib(["logs", "web", "--socket", cri.endpoint]);
    const stderr = `crib: no log file ${cri.dir}/pod/web/0.log\n`;
    expect(response).toEqual({ code: 3, stdout: "", stderr });
  });

  test("--tail counts the container's lines", async () => {
    await using cri = await serveLog();
    const argv = ["logs", "--tail", "3", "web", "--socket", cri.endpoint];
    expect((await runCrib(argv)).stdout).toBe("two\n\n");
  });

  test("of an ended container end, also with -f", async () => {
    await using cri = await serveLog();
    const response = await runCrib(["logs", "-f", oldId, "--socket", cri.endpoint]);
    expect(response.stdout).toBe("one\ntwo\n\n");
  });

  test("of a file that is no CRI log are an error", async () => {
    await using cri = await serveLog();
    writeFileSync(`${cri.dir}/0.log`, "root:x:0:0\n");
    const response = await runCrib(["logs", "web", "--socket", cri.endpoint]);
    expect(response.stderr).toBe('crib: not a line of a CRI log: "root:x:0:0"\n');
  });
});

describe("exec", () => {
  test("--timeout passes bytes and the exit code through, and options to the command", async () => {
    let cmd: readonly string[] = [];
    await using cri = await serveFakeCri({
      ...lists,
      execSync: (request) => {
        cmd = request.cmd;
        return { stdout: Buffer.from("out"), stderr: Buffer.from("err"), exitCode: 42 };
      },
    });
    const argv = ["exec", "--timeout", "5", "web", "ls", "-l", "--", "x"];
    const response = await runCrib(argv, { variables: { CRIB_SOCKET: cri.endpoint } });
    expect(response).toEqual({ code: 42, stdout: "out", stderr: "err" });
    expect(cmd).toEqual(["ls", "-l", "--", "x"]);
  });

  test("returns 125 where crib itself failed", async () => {
    await using cri = await serveFakeCri(lists);
    const { code } = await runCrib(["exec", "--socket", cri.endpoint, "none", "true"]);
    expect(code).toBe(125);
  });
});

describe("stop, rm, rmi", () => {
  test("rm refuses what runs, and -f does not", async () => {
    const removed: string[] = [];
    await using cri = await serveFakeCri({
      ...lists,
      stopPodSandbox: () => ({}),
      removePodSandbox: ({ podSandboxId }) => {
        removed.push(podSandboxId);
        return {};
      },
    });
    const variables = { CRIB_SOCKET: cri.endpoint };
    const refused = await runCrib(["rm", "shop"], { variables });
    expect(refused.stderr).toContain("is running: stop it first, or use rm -f");
    expect((await runCrib(["rm", "-f", "shop"], { variables })).code).toBe(0);
    expect(removed).toEqual([podId]);
    expect((await runCrib(["rm", "gone"], { variables })).code).toBe(3);
    expect((await runCrib(["rm", "-f", "gone"], { variables })).code).toBe(0);
  });

  test("rm --all is every pod; rmi --prune what is neither pinned nor used", async () => {
    const removed: (string | undefined)[] = [];
    const images = ["used", "named", "pinned", "free"].map((id) => ({
      id: `sha256:${id}`,
      repoTags: [`${id}:1`],
      pinned: id === "pinned",
    }));
    const using = [
      create(pb.ContainerSchema, { ...web, imageId: "sha256:used" }),
      create(pb.ContainerSchema, { id: oldId, image: { image: "named:1" } }),
    ];
    await using cri = await serveFakeCri(
      {
        ...lists,
        listContainers: () => ({ containers: using }),
        stopPodSandbox: () => ({}),
        removePodSandbox: ({ podSandboxId }) => {
          removed.push(podSandboxId);
          return {};
        },
      },
      {
        listImages: () => ({ images }),
        imageStatus: ({ image }) => ({ image: images.find(({ id }) => id === image?.image) }),
        removeImage: ({ image }) => {
          removed.push(image?.image);
          return {};
        },
      },
    );
    const variables = { CRIB_SOCKET: cri.endpoint };
    expect((await runCrib(["rm", "-f", "--all"], { variables })).code).toBe(0);
    expect(await runCrib(["rmi", "--prune"], { variables })).toMatchObject({
      code: 0,
      stdout: "sha256:free\n",
    });
    expect(removed).toEqual([podId, "sha256:free"]);
  });

  test("stop goes on after a failure and returns the first one's code", async () => {
    const stopped: string[] = [];
    await using cri = await serveFakeCri({
      ...lists,
      stopContainer: ({ containerId, timeout }) => {
        stopped.push(`${containerId} ${timeout}`);
        return {};
      },
    });
    const argv = ["stop", "--time", "3", "gone", "web", "--socket", cri.endpoint];
    expect(await runCrib(argv)).toEqual({
      code: 3,
      stdout: "web\n",
      stderr: 'crib: no pod or container "gone"\n',
    });
    expect(stopped).toEqual([`${webId} 3`]);
  });

  test("an ambiguous beginning of an id is refused", async () => {
    const twins = ["ab1", "ab2"].map((id) => create(pb.ContainerSchema, { ...web, id }));
    await using cri = await serveFakeCri({
      ...lists,
      listContainers: () => ({ containers: twins }),
    });
    const { stderr } = await runCrib(["stop", "ab", "--socket", cri.endpoint]);
    expect(stderr).toBe('crib: "ab" fits 2 containers: ab1, ab2\n');
  });

  test("rmi by the beginning of an id removes the whole image", async () => {
    const id = `sha256:${"d".repeat(64)}`;
    const removed: (string | undefined)[] = [];
    await using cri = await serveFakeCri(
      {},
      {
        imageStatus: () => ({}),
        listImages: () => ({ images: [{ id }] }),
        removeImage: ({ image }) => {
          removed.push(image?.image);
          return {};
        },
      },
    );
    expect((await runCrib(["rmi", "dddd", "--socket", cri.endpoint])).code).toBe(0);
    expect(removed).toEqual([id]);
  });
});

test("info fails where a condition does not hold, and says which", async () => {
  const conditions = [
    { type: "RuntimeReady", status: true },
    { type: "NetworkReady", status: false, reason: "NetworkPluginNotReady", message: "no network" },
  ];
  await using cri = await serveFakeCri({
    status: () => ({ status: { conditions }, info: { config: '{"a":1}' } }),
  });
  const { code, stdout } = await runCrib(["info", "--socket", cri.endpoint]);
  expect(stdout).toMatch(/NetworkReady +no +NetworkPluginNotReady: no network/);
  expect(code).toBe(1);
  const json = await runCrib(["info", "-o", "json", "--socket", cri.endpoint]);
  expect(JSON.parse(json.stdout).info.config).toEqual({ a: 1 });
});

test("events are a line each, until the daemon stops, which is a failure", async () => {
  const event = create(pb.ContainerEventResponseSchema, {
    containerId: webId,
    containerEventType: pb.ContainerEventType.CONTAINER_STOPPED_EVENT,
    createdAt,
    podSandboxStatus: { id: podId, metadata: { name: "shop", namespace: "default" } },
    containersStatuses: [
      { id: webId, metadata: { name: "web" }, exitCode: 137, reason: "OOMKilled" },
    ],
  });
  await using cri = await serveFakeCri({
    getContainerEvents: async function* () {
      yield event;
      yield { ...event, containerId: podId };
    },
  });
  expect(await runCrib(["events", "--socket", cri.endpoint])).toEqual({
    code: 4,
    stderr: "crib: the daemon has stopped\n",
    stdout: [
      "2026-01-01T00:00:00.000Z  stopped  container  bbbbbbbbbbbbb  web  default/shop  exit code 137 OOMKilled\n",
      "2026-01-01T00:00:00.000Z  stopped  pod        aaaaaaaaaaaaa  shop  default/shop\n",
    ].join(""),
  });
});

describe("inspect", () => {
  test("prints JSON, with verbose info parsed", async () => {
    await using cri = await serveFakeCri({
      ...lists,
      podSandboxStatus: () => ({ status: { id: podId }, info: { info: '{"pid":7}', raw: "x" } }),
    });
    const { stdout } = await runCrib(["inspect", "shop", "--socket", cri.endpoint]);
    expect(JSON.parse(stdout)).toMatchObject({
      status: { id: podId, state: "SANDBOX_READY" },
      info: { info: { pid: 7 }, raw: "x" },
    });
  });
});

test("every command line of crib in README and docs names a command and options that there are", async () => {
  const wrong: string[] = [];
  const files = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    ...new Bun.Glob("docs/*.md").scanSync("."),
  ];
  expect(files.length).toBeGreaterThan(8);
  for (const file of files) {
    const text = await Bun.file(file).text();
    const code = [...text.matchAll(/^```sh\n(.*?)^```|`([^`\n]+)`/gms)].map(
      ([, block, span]) => block ?? span ?? "",
    );
    const lines = code.flatMap((part) => part.split(/[\n;|#]|&&/));
    for (const line of lines) {
      const [, name, rest = ""] =
        /^\s*(?:\.\/(?:dist\/)?)?crib ([a-z][a-z-]*)(.*)$/.exec(line) ?? [];
      // Those that main.ts itself knows, and prose about child processes.
      if (name === undefined || ["monitor", "help"].includes(name)) continue;
      const command = allCommands[name];
      // What follows an image or a container is its own command.
      const options =
        command?.positionals.commandAfter !== undefined ? [] : (rest.match(/--[a-z-]+/g) ?? []);
      const unknown = options.filter(
        (option) => !(option.slice(2) in { ...command?.options, ...commonOptions }),
      );
      if (command === undefined || unknown.length > 0) wrong.push(`${file}: ${line.trim()}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("docs/cli.md is what the table of commands makes (UPDATE_DOCS=1 writes it)", () => {
  const file = "docs/cli.md";
  if (Bun.env["UPDATE_DOCS"] === "1") writeFileSync(file, formatMarkdown());
  expect(readFileSync(file, "utf8")).toBe(formatMarkdown());
});
