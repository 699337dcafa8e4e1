import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { describe, failedPrecondition } from "../../lib/errors.ts";
import { openCriClient } from "../client.ts";
import type { CommandEnv } from "../command.ts";
import { formatSize } from "../output/format.ts";
import { eventually, startDaemon } from "./daemon-process.ts";
import { endMonitors } from "./monitors.ts";
import { type Narrator, narrate } from "./narrator.ts";
import { prepareDemoNetwork } from "./network.ts";
import { demoImage, makeDemoConfigs } from "./pod.ts";
import { showPod } from "./show-pod.ts";
import { findTraces, type TraceMarks, traceKinds } from "./traces.ts";

const readyMs = 60_000;

/**
 * One pod from nothing to nothing, through the CRI socket of a daemon of its own. Throws at the first step that fails;
 * whatever was made by then is taken away again, also after Ctrl-C.
 */
export async function runDemo(env: CommandEnv, payload: string): Promise<void> {
  const narrator = narrate(env.out, env.ctx.signal);
  const closing = narrate(env.out);
  const dir = mkdtempSync(`${tmpdir()}/crib-demo-`);
  const bridge = `demo${randomBytes(4).toString("hex")}`;
  const marks = { dir, ids: [] as string[], interfaces: [bridge] };
  // Undone in reverse: the pod, the daemon, its monitors, the network, the directory; then the proof.
  await using rollback = new AsyncDisposableStack();
  rollback.defer(async () => {
    await closing.step("look for what is left", () => requireNothingLeft(marks));
  });
  rollback.defer(() => rmSync(dir, { recursive: true, force: true }));
  rollback.use(prepareDemoNetwork(`${dir}/net.d`, bridge, `${dir}/addresses`));
  rollback.defer(async () => {
    await closing.step("end the monitors", () => endMonitors(dir));
  });
  await runPod(env, narrator, { dir, payload, marks, rollback, closing });
}

interface PodRun {
  readonly dir: string;
  readonly payload: string;
  readonly marks: TraceMarks & { readonly ids: string[]; readonly interfaces: string[] };
  readonly rollback: AsyncDisposableStack;
  /** Prints the clean-up. */
  readonly closing: Narrator;
}

async function runPod(env: CommandEnv, narrator: Narrator, run: PodRun): Promise<void> {
  const { dir, payload, marks, rollback, closing } = run;
  const { signal } = env.ctx;
  const daemon = startDaemon({ dir, confDir: `${dir}/net.d`, payload });
  rollback.defer(async () => {
    await closing.step("stop the daemon", () => daemon.stop());
  });
  const cri = rollback.use(openCriClient(daemon.endpoint));
  const wait = { timeoutMs: readyMs, check: () => daemon.requireRunning(), signal };
  await narrator.step("start a daemon", async () => {
    const version = await eventually(() => cri.runtime.version({}), { what: "start", ...wait });
    return { detail: `${version.runtimeName} ${version.runtimeVersion} at ${daemon.endpoint}` };
  });
  await narrator.step("ask whether it is ready", async () => {
    const conditions = await eventually(
      async () => {
        const { status } = await cri.runtime.status({}, { signal });
        return status?.conditions.every((one) => one.status) ? status.conditions : undefined;
      },
      { what: "getting ready", ...wait },
    );
    return { detail: conditions.map(({ type }) => type).join(", ") };
  });
  await narrator.step("pull the image", async () => {
    const spec = { image: demoImage };
    await cri.images.pullImage({ image: spec }, { signal });
    const { image } = await cri.images.imageStatus({ image: spec }, { signal });
    return { detail: `${demoImage}, ${formatSize(image?.size ?? 0n)}, from this executable` };
  });
  const logDirectory = `${dir}/logs`;
  mkdirSync(`${logDirectory}/hello`, { recursive: true });
  await showPod(env, narrator, cri, { configs: makeDemoConfigs(logDirectory), marks });
}

async function requireNothingLeft(marks: TraceMarks): Promise<{ readonly detail: string }> {
  // Taking the network away goes on a moment after the calls have returned.
  await eventually(
    async () => {
      const traces = findTraces(marks);
      const left = traceKinds.flatMap((kind) => traces[kind].map((one) => `${kind}: ${one}`));
      if (left.length > 0) throw failedPrecondition(`left behind: ${left.slice(0, 8).join(", ")}`);
      return true;
    },
    { what: "removal", timeoutMs: 5000 },
  ).catch((err: unknown) => {
    throw failedPrecondition(describe(err), err);
  });
  return { detail: `no ${traceKinds.join(", ")}` };
}
