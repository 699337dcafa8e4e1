import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { crictl } from "../harness/crictl.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { startRegistry, writeMirrors } from "../harness/registry-server.ts";
import { tempDir } from "../harness/temp-dir.ts";

/** Several layers, over 100 MB unpacked, made from Debian's packages. */
// Its STOPSIGNAL is SIGQUIT and its USER app.
const debianImage = "docker.io/crib-test/debian:tools";

test("crictl: a real image from a real registry runs as a pod, from pull to rmi", async () => {
  using dir = tempDir();
  await using registry = await startRegistry();
  mkdirSync(`${dir.path}/certs.d`);
  await writeMirrors(`${dir.path}/certs.d`, registry.host);
  await using daemon = await Daemon.start({ registryConfigDir: `${dir.path}/certs.d` });
  const run = (...args: readonly string[]) => crictl(daemon.socket, ...args);
  const json = async (...args: readonly string[]) => JSON.parse(await run(...args, "-o", "json"));

  await run("pull", debianImage);
  const { images } = await json("images");
  const [image] = images;
  expect(images).toHaveLength(1);
  expect(image.repoTags).toEqual([debianImage]);
  expect(Number(image.size)).toBeGreaterThan(100_000_000);

  const podConfig = `${dir.path}/pod.json`;
  const containerConfig = `${dir.path}/container.json`;
  writeFileSync(
    podConfig,
    JSON.stringify({
      metadata: { name: "story", namespace: "default", uid: "1", attempt: 1 },
      hostname: "story",
      labels: { app: "story" },
      log_directory: `${dir.path}/logs`,
      dns_config: { servers: ["10.10.10.10"], searches: ["example.org"] },
    }),
  );
  writeFileSync(
    containerConfig,
    JSON.stringify({
      metadata: { name: "main", attempt: 2 },
      image: { image: debianImage },
      command: ["bash", "-c"],
      args: [
        "echo started as $(id -un); trap 'echo stopping; exit 3' QUIT; while :; do sleep 0.1; done",
      ],
      envs: [{ key: "GREETING", value: "hello" }],
      labels: { app: "story" },
      log_path: "main.log",
    }),
  );

  const pod = await run("runp", podConfig);
  const container = await run("create", pod, containerConfig, podConfig);
  expect((await json("ps", "-a")).containers[0].state).toBe("CONTAINER_CREATED");
  await run("start", container);
  const [listed] = (await json("ps", "--label", "app=story")).containers;
  expect(listed).toMatchObject({ id: container, podSandboxId: pod, state: "CONTAINER_RUNNING" });
  expect((await json("pods")).items[0]).toMatchObject({ id: pod, state: "SANDBOX_READY" });
  await eventually(async () => expect(await run("logs", container)).toBe("started as app"));
  expect(await run("exec", "-s", container, "cat", "/etc/hostname")).toBe("story");
  expect(await run("exec", "-s", container, "printenv", "GREETING")).toBe("hello");
  expect(await run("exec", "-s", container, "cat", "/etc/debian_version")).toMatch(/^\d+\.\d+$/);
  expect(await run("exec", "-s", container, "cat", "/etc/resolv.conf")).toBe(
    "nameserver 10.10.10.10\nsearch example.org",
  );
  await expect(
    run("exec", "-s", container, "false").catch((err: Error) => err.message),
  ).resolves.toContain("exited with 1");

  const { status, info } = JSON.parse(await run("inspect", container));
  expect(status).toMatchObject({
    id: container,
    state: "CONTAINER_RUNNING",
    metadata: { name: "main", attempt: 2 },
    image: { image: debianImage },
    imageId: image.id,
    logPath: `${dir.path}/logs/main.log`,
  });
  expect(info.pid).toBeGreaterThan(1);
  const sandbox = JSON.parse(await run("inspectp", pod));
  expect(sandbox.status.network.ip).toMatch(/^\d+\.\d+\.\d+\.\d+$/);

  await run("stop", "--timeout", "100", container);
  const stopped = JSON.parse(await run("inspect", container)).status;
  expect(stopped).toMatchObject({ state: "CONTAINER_EXITED", exitCode: 3, reason: "Error" });
  expect(await run("logs", container)).toBe("started as app\nstopping");
  await run("rm", container);
  await run("stopp", pod);
  expect((await json("pods")).items[0].state).toBe("SANDBOX_NOTREADY");
  await run("rmp", pod);
  await run("rmi", debianImage);
  expect((await json("ps", "-a")).containers).toEqual([]);
  expect((await json("pods")).items).toEqual([]);
  expect((await json("images")).images).toEqual([]);
});
