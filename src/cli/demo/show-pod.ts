import { readdirSync } from "node:fs";
import { detached } from "../../lib/context.ts";
import { AppError } from "../../lib/errors.ts";
import type { CriClient } from "../client.ts";
import type { CommandEnv } from "../command.ts";
import { type LogPlace, readLog } from "../log/log-file.ts";
import { shortId } from "../output/format.ts";
import type { RunConfigs } from "../run/run-config.ts";
import { eventually } from "./daemon-process.ts";
import { httpGet } from "./http-get.ts";
import type { Narrator } from "./narrator.ts";
import { demoPort, greeting } from "./pod.ts";
import { findTraces, type TraceMarks, traceKinds } from "./traces.ts";

export interface ShownPod {
  readonly configs: RunConfigs;
  /** Gets the ids and the veth, by which what is left of them is looked for later. */
  readonly marks: TraceMarks & { readonly ids: string[]; readonly interfaces: string[] };
}

const [podMs, stepMs, stopSeconds] = [120_000, 20_000, 5n];

/** Runs the pod, looks at it from all sides, and removes it, also when a step fails. */
export async function showPod(
  env: CommandEnv,
  narrator: Narrator,
  cri: CriClient,
  { configs, marks }: ShownPod,
): Promise<void> {
  // A call that makes something is not cut off by Ctrl-C, because what it makes would have no one to remove it.
  const { signal } = detached(env.ctx, podMs);
  const { sandbox, container } = configs;
  await using rollback = new AsyncDisposableStack();
  const { podSandboxId } = await narrator.step("RunPodSandbox", async () => {
    const response = await cri.runtime.runPodSandbox({ config: sandbox }, { signal });
    marks.ids.push(response.podSandboxId);
    rollback.defer(() => removePod(cri, response.podSandboxId, detached(env.ctx, stepMs).signal));
    return { ...response, detail: `pod ${shortId(response.podSandboxId)}, namespaces and network` };
  });
  const { containerId } = await narrator.step("CreateContainer", async () => {
    const response = await cri.runtime.createContainer(
      { podSandboxId, config: container, sandboxConfig: sandbox },
      { signal },
    );
    marks.ids.push(response.containerId);
    return { ...response, detail: `container ${shortId(response.containerId)}` };
  });
  await narrator.step("StartContainer", async () => {
    await cri.runtime.startContainer({ containerId }, { signal });
    return { detail: "running" };
  });
  await showLog(env, narrator, {
    podDirectory: sandbox.logDirectory,
    name: container.logPath,
  });
  await showExec(env, narrator, cri, containerId);
  await showNetwork(env, narrator, cri, podSandboxId);
  await narrator.step("count what it takes", async () => {
    marks.interfaces.push(...veths(marks.interfaces));
    const traces = findTraces(marks);
    return { detail: traceKinds.map((kind) => `${traces[kind].length} ${kind}`).join(", ") };
  });
  await narrator.step("StopContainer", async () => {
    await cri.runtime.stopContainer({ containerId, timeout: stopSeconds }, { signal });
    const { status } = await cri.runtime.containerStatus({ containerId }, { signal });
    if (status?.exitCode !== 0) throw failure(`exit code ${status?.exitCode}, expected 0`);
    return { detail: `exit code ${status.exitCode}, ${status.reason}` };
  });
  await narrator.step("RemoveContainer", async () => {
    await cri.runtime.removeContainer({ containerId }, { signal });
    return { detail: "" };
  });
  await narrator.step("Stop- and RemovePodSandbox", async () => {
    await removePod(cri, podSandboxId, signal);
    rollback.move();
    return { detail: "" };
  });
}

async function removePod(cri: CriClient, podSandboxId: string, signal: AbortSignal): Promise<void> {
  await cri.runtime.stopPodSandbox({ podSandboxId }, { signal });
  await cri.runtime.removePodSandbox({ podSandboxId }, { signal });
}

async function showLog(env: CommandEnv, narrator: Narrator, place: LogPlace): Promise<void> {
  const { lines } = await narrator.step("read its log", async () => {
    const read = await eventually(() => readLines(place, env.ctx.signal), {
      what: "the container's log",
      timeoutMs: stepMs,
      signal: env.ctx.signal,
    });
    return { lines: read, detail: `${place.podDirectory}/${place.name}` };
  });
  narrator.quote(lines.join("\n"));
}

/** What has been written, once the container has said that it is ready. */
async function readLines(place: LogPlace, signal: AbortSignal): Promise<string[] | undefined> {
  const lines: string[] = [];
  for await (const { stream, content } of readLog(place, { signal })) {
    lines.push(`${stream}: ${Buffer.from(content).toString()}`);
  }
  return lines.includes("stdout: ready") ? lines : undefined;
}

async function showExec(
  env: CommandEnv,
  narrator: Narrator,
  cri: CriClient,
  containerId: string,
): Promise<void> {
  const cmd = ["sh", "-c", "uname -a; ip -4 -o address; ps -o pid,user,comm"];
  const { output } = await narrator.step("ExecSync", async () => {
    const response = await cri.runtime.execSync(
      { containerId, cmd, timeout: 10n },
      { signal: env.ctx.signal },
    );
    if (response.exitCode !== 0) throw failure(`exec ended with ${response.exitCode}`);
    return { output: Buffer.from(response.stdout).toString(), detail: "uname, ip, ps" };
  });
  narrator.quote(output);
}

async function showNetwork(
  env: CommandEnv,
  narrator: Narrator,
  cri: CriClient,
  podSandboxId: string,
): Promise<void> {
  await narrator.step("fetch its page over HTTP", async () => {
    const { status } = await cri.runtime.podSandboxStatus({ podSandboxId });
    const ip = status?.network?.ip ?? "";
    const url = `http://${ip}:${demoPort}/`;
    const body = (await httpGet(ip, demoPort, env.ctx.signal)).trim();
    if (body !== greeting) throw failure(`${url} returned ${JSON.stringify(body.slice(0, 100))}`);
    return { detail: `${url} says ${JSON.stringify(body)}` };
  });
}

function veths([bridge]: readonly string[]): readonly string[] {
  try {
    return readdirSync(`/sys/class/net/${bridge}/brif`);
  } catch {
    return [];
  }
}

function failure(message: string): AppError {
  return new AppError(message, { kind: "internal" });
}
