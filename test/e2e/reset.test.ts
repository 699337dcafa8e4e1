import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { CribCommand } from "../harness/crib-command.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { leftOvers } from "../harness/leaks.ts";
import { hasOwnNetwork, inOwnNetwork } from "../harness/own-network.ts";
import { demoImage as image } from "../harness/pod.ts";

if (!hasOwnNetwork) inOwnNetwork(import.meta.path);
const describeInside = hasOwnNetwork ? describe : () => {};

/** The output of a program that may fail. */
function output(...argv: readonly string[]): string {
  const { stdout, stderr } = Bun.spawnSync([...argv]);
  return `${stdout}${stderr}`;
}

describeInside("crib reset", () => {
  let daemon: Daemon;
  let crib: CribCommand;
  let ids: string[] = [];

  beforeAll(async () => {
    // The addresses that daemons of the machine's own network have given out are none of ours.
    mkdirSync("/run/crib-network", { recursive: true });
    output("mount", "-t", "tmpfs", "tmpfs", "/run/crib-network");
    daemon = await Daemon.start({ demoImage: true });
    crib = new CribCommand(daemon);
  });

  afterAll(async () => {
    if (existsSync(`${daemon.root}/config.toml`)) await daemon[Symbol.asyncDispose]();
  });

  const reset = (...options: readonly string[]) =>
    crib.run([
      ...["reset", `--config=${daemon.root}/config.toml`],
      ...[`--root=${daemon.root}`, `--state=${daemon.state}`, ...options],
    ]);

  /** Three pods: one that heeds no stop signal, one with a host port and a volume, one that has ended. */
  async function runPods(): Promise<void> {
    const deaf = "trap '' TERM; while :; do sleep 1; done";
    await crib.ok("run", "-d", "--name", "deaf", image, "sh", "-c", deaf);
    await crib.ok("run", "-d", "-p", "8080:80", "-v", "/tmp:/data", image, "sleep", "3600");
    await crib.ok("run", "--name", "ended", image, "true");
    const { items } = await daemon.cri.runtime.listPodSandbox({});
    const { containers } = await daemon.cri.runtime.listContainers({});
    ids = [...items, ...containers].map(({ id }) => id);
    expect(ids).toHaveLength(6);
  }

  test("asks first, and needs --yes where it cannot", async () => {
    expect(await reset()).toMatchObject({ code: 2, stderr: expect.stringContaining("--yes") });
    await using shell = crib.typeInto(
      `crib reset --root=${daemon.root} --state=${daemon.state}; echo "code=$?."; read wait`,
    );
    await shell.screen.until("[y/N] ");
    shell.type("\r");
    await shell.screen.until("code=1.");
  });

  test("removes everything through the daemon, which goes on", async () => {
    await runPods();
    expect(await reset("--yes")).toEqual({
      code: 0,
      stdout: "removed 3 pods with 3 containers\n",
      stderr: "",
    });
    await eventually(() => expect(leftOvers(daemon, ids)).toEqual([]));
    expect(await crib.ok("images", "-q")).not.toBe("");
  });

  test("means the daemon that CRIB_SOCKET names, where no other place is told", async () => {
    await crib.ok("run", "-d", image, "sleep", "3600");
    expect(await crib.run(["reset", "--yes"])).toEqual({
      code: 0,
      stdout: "removed 1 pod with 1 container\n",
      stderr: "",
    });
  });

  test("without the daemon leaves no process, mount, namespace, cgroup, bridge and rule", async () => {
    await runPods();
    await daemon.end("SIGKILL");
    expect(output("ip", "link", "show", "crib0")).toContain("crib0");
    const answer = await reset("--yes");
    expect(answer).toEqual({
      code: 0,
      stdout: "removed 3 pods with 3 containers\nthe embedded network is gone\n",
      stderr: "",
    });
    await eventually(() => expect(leftOvers(daemon, ids)).toEqual([]));
    await eventually(() => expect(daemon.monitors()).toEqual([]));
    expect(readdirSync(`${daemon.state}/monitors`)).toEqual([]);
    expect(output("ip", "link", "show", "crib0")).toContain("does not exist");
    expect(output("iptables-save")).not.toContain("CRIB-");
    if (Bun.which("nft") !== null) {
      expect(output("nft", "list", "tables")).not.toContain("inet crib");
    }
    expect(await reset("--yes")).toMatchObject({ code: 0, stderr: "" });
  });

  test("leaves a node on which the daemon starts again as if nothing had been", async () => {
    await daemon.start();
    expect(await crib.ok("run", "--rm", image, "echo", "hello")).toBe("hello\n");
    expect(output("iptables-save")).toContain("CRIB-");
  });

  test("--all refuses while the daemon runs, and else leaves no file", async () => {
    await crib.ok("run", "-d", image, "sleep", "3600");
    expect(await reset("--all", "--yes")).toMatchObject({
      code: 1,
      stderr: "crib: crib serve is running: stop it first, as with `systemctl stop crib`\n",
    });
    expect(await crib.ok("ps", "-q")).not.toBe("");
    await daemon.end("SIGTERM");
    mkdirSync(`${daemon.root}/disk`);
    output("mount", "-t", "tmpfs", "tmpfs", `${daemon.root}/disk`);
    const refused = await reset("--all", "--yes");
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("is mounted") });
    expect(existsSync(`${daemon.root}/state.db`)).toBe(true);
    output("umount", `${daemon.root}/disk`);
    expect(await reset("--all", "--yes")).toMatchObject({ code: 0, stderr: "" });
    expect(existsSync(daemon.root)).toBe(false);
    expect(existsSync(daemon.state)).toBe(false);
    await eventually(() => expect(daemon.monitors()).toEqual([]));
  });
});
