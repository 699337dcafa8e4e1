/**
 * bun bench/soak.ts [--minutes N] [--pods N] [--kills N]
 *
 * Pods that come and go with execs and pulls, while the daemon (and now and then its monitors) is killed N times a minute.
 * Tells what failed that should not have, what is left at the end, and how memory and descriptors have grown.
 */
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Code, ConnectError } from "@connectrpc/connect";
import { Daemon } from "../test/harness/daemon.ts";
import { eventually } from "../test/harness/eventually.ts";
import { startFlakyRegistry } from "../test/harness/flaky-registry.ts";
import { makeImage, makeLayer } from "../test/harness/images/oci-image.ts";
import { packTar } from "../test/harness/images/tar.ts";
import { leftOvers } from "../test/harness/leaks.ts";
import { type Pod, readLog, runPod, startScript, statusOf } from "../test/harness/pod.ts";
import { tempDir } from "../test/harness/temp-dir.ts";
import { megabytes } from "./process.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    pods: { type: "string", default: "3" },
    kills: { type: "string", default: "2" },
  },
});
const end = performance.now() + Number(values.minutes) * 60_000;
const counts = { pods: 0, execs: 0, pulls: 0, "kill -9 of the daemon": 0, "of its monitors": 0 };
const failures: string[] = [];
const ids: string[] = [];

const data = crypto.getRandomValues(new Uint8Array(65_536));
const layer = makeLayer(packTar([{ type: "file", path: "data", data }]));
await using registry = await startFlakyRegistry(
  { "app:1": makeImage([layer], {}) },
  () => undefined,
);
using dir = tempDir("/var/tmp");
mkdirSync(`${dir.path}/reg.test`);
writeFileSync(`${dir.path}/reg.test/hosts.toml`, `server = "${registry.url}"\n`);
await using daemon = await Daemon.start({ demoImage: true, registryConfigDir: dir.path });
const { cri } = daemon;

/** A daemon that was killed in the middle of a call is no failure: as a kubelet, ask again. */
const passing = new Set([Code.Unavailable, Code.Canceled, Code.Aborted, Code.AlreadyExists]);
const isPassing = ({ code, message }: ConnectError) =>
  passing.has(code) || message.includes("connect ENOENT"); // the socket of one that starts

async function onePod(): Promise<void> {
  let pod: Pod | undefined;
  try {
    pod = await runPod(cri, dir.path);
    ids.push(pod.id);
    const containerId = await startScript(
      cri,
      pod,
      "echo hello; trap 'exit 3' TERM; while :; do sleep 0.1; done",
    );
    ids.push(containerId);
    for (let i = 0; i < 3; i++) {
      const { stdout } = await cri.runtime.execSync({
        containerId,
        cmd: ["echo", "out"],
        timeout: 30n,
      });
      if (Buffer.from(stdout).toString() !== "out\n") failures.push("an exec's output is lost");
      counts.execs++;
    }
    await cri.runtime.stopContainer({ containerId, timeout: 20n });
    const { exitCode, logPath } = await statusOf(cri, containerId);
    if (exitCode !== 3) failures.push(`exit code ${exitCode} where 3 belongs`);
    if (readLog(logPath) !== "hello\n") failures.push("the log is not complete");
    counts.pods++;
  } catch (err) {
    const failure = ConnectError.from(err);
    if (!isPassing(failure)) failures.push(failure.message);
  } finally {
    const id = pod?.id;
    if (id !== undefined) await eventually(() => remove(id), 60_000);
  }
}

async function remove(podSandboxId: string): Promise<void> {
  await cri.runtime.stopPodSandbox({ podSandboxId });
  await cri.runtime.removePodSandbox({ podSandboxId });
}

async function onePull(): Promise<void> {
  const image = { image: "reg.test/app:1" };
  try {
    await cri.image.pullImage({ image });
    await cri.image.removeImage({ image });
    counts.pulls++;
  } catch (err) {
    const failure = ConnectError.from(err);
    if (!isPassing(failure)) failures.push(failure.message);
  }
  await Bun.sleep(2000);
}

async function oneKill(): Promise<void> {
  await Bun.sleep((60_000 / Number(values.kills)) * (0.5 + Math.random()));
  const takeMonitors = Math.random() < 0.3;
  const monitors = daemon.monitors();
  if (!takeMonitors || Math.random() < 0.5) {
    await daemon.end("SIGKILL");
    await daemon.start();
    counts["kill -9 of the daemon"]++;
  }
  if (takeMonitors) {
    for (const pid of monitors) process.kill(pid, "SIGKILL");
    counts["of its monitors"]++;
  }
}

async function repeat(work: () => Promise<void>): Promise<void> {
  while (performance.now() < end) {
    await work();
    await Bun.sleep(20); // a daemon that is down refuses at once
  }
}

async function report(): Promise<void> {
  while (performance.now() < end) {
    await Bun.sleep(Math.min(60_000, Math.max(0, end - performance.now())));
    await eventually(tell, 60_000); // the daemon may be down at the moment
  }
}

function tell(): void {
  const fds = [daemon.pid, ...daemon.monitors()].map(
    (pid) => readdirSync(`/proc/${pid}/fd`).length,
  );
  const memory = [[daemon.pid], daemon.monitors()].map(megabytes);
  console.log(
    `${Math.round(process.uptime())} s: ${JSON.stringify(counts)}, ${failures.length} failures, ` +
      `daemon ${memory[0]} MB, monitors ${memory[1]} MB, descriptors ${fds.join(" ")}`,
  );
}

await Promise.all([
  ...Array.from({ length: Number(values.pods) }, () => repeat(onePod)),
  repeat(onePull),
  ...(Number(values.kills) > 0 ? [repeat(oneKill)] : []),
  report(),
]);
const { items } = await cri.runtime.listPodSandbox({});
for (const { id } of items) await remove(id);
const left = await eventually(() => {
  const found = leftOvers(daemon, ids);
  if (found.length > 0) throw new Error(found.join("\n"));
  return found;
}, 20_000).catch((err: Error) => err.message.split("\n"));
tell();
for (const [what, list] of Object.entries({ failures, "left over": left })) {
  console.log(`${what}: ${list.length}`, ...new Set(list.slice(0, 20)));
}
process.exitCode = failures.length + left.length === 0 ? 0 : 1;
