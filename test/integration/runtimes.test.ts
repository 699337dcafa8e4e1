import { expect, test } from "bun:test";
import { chmodSync, existsSync, readdirSync, writeFileSync } from "node:fs";
import { testRuntime } from "../../src/runtime/runtime.suite.ts";
import type { TaskRequest } from "../../src/runtime/runtime.ts";
import { hasGvisor, installGvisor } from "../harness/gvisor.ts";
import { ctx } from "../harness/monitored.ts";
import { OciSuiteNode } from "../harness/oci-node.ts";
import { payloadDir } from "../harness/payload.ts";
import { hasPeers } from "../harness/peers/containerd.ts";
import { findRunc } from "../harness/run-spec.ts";
import { ShimSuiteNode } from "../harness/shim-node.ts";
import { ShimmedNode } from "../harness/shimmed.ts";
import { tempDir } from "../harness/temp-dir.ts";
import { parts } from "../parts/paths.ts";

/** With where gVisor says so, or does it. */
const gvisorLacks = {
  // runsc's exec reads no consoleSize, so the size comes after the start (runsc/cmd/exec.go).
  consoleSize: true,
  // Containers have no cgroups that limit anything: one of the pod holds its only process (runsc/container/container.go,
  // setupCgroupForSubcontainer; gvisor.dev/docs/user_guide/faq).
  memoryLimit: true,
} as const;

testRuntime("runc, as it is embedded", () => OciSuiteNode.open(findRunc(), true));
testRuntime("runc, as another program", () => OciSuiteNode.open(findRunc(), false));
testRuntime("crun", () => OciSuiteNode.open(`${payloadDir()}/crun/crun`, false));
if (hasPeers)
  testRuntime("crun, Debian's newest", () => OciSuiteNode.open(parts.peers.crun, false));
testRuntime("containerd's shim for runc", () => ShimSuiteNode.open(parts.shims.runc));
if (hasGvisor) {
  const { path } = tempDir();
  testRuntime("gVisor's shim", () => ShimSuiteNode.open(installGvisor(path), gvisorLacks));

  test("a pod in gVisor that is killed for want of memory takes its containers along, which say so", async () => {
    await using node = await ShimmedNode.open({ path: installGvisor(`${path}/oom`) });
    const pod = await node.sandbox({ memory: 96 << 20 });
    // Zeros have no end of line, before which it prints nothing.
    const eats = "tail /dev/zero";
    const task = await node.run(pod.id, eats);
    expect(await task.wait()).toMatchObject({ exitCode: 137, oomKilled: true, isUnknown: false });
    expect(await pod.wait()).toMatchObject({ exitCode: 137, oomKilled: true });
  });
}
testRuntime("a program that keeps its state elsewhere", () => openOther());

/** runc under another name, which keeps what it knows of a container in no directory that is called like it. */
async function openOther(before = ""): Promise<OciSuiteNode> {
  const dir = tempDir("/run");
  const program = `${dir.path}/other`;
  // The options that come before the command are crib's: --root DIR --log-format json.
  const script = `#!/bin/sh\n${before}\nroot=$2; shift 2\nexec ${findRunc()} --root "$root/elsewhere" "$@"\n`;
  writeFileSync(program, script);
  chmodSync(program, 0o700);
  return await OciSuiteNode.open(program, false);
}

test("a program that is neither runc nor crun is told to delete what it knows", async () => {
  await using node = await openOther();
  const request = await node.request({ args: ["/bin/true"] });
  const task = await node.runtime.create(ctx, request);
  const state = `${node.programRoot}/elsewhere/${request.id}`;
  expect(existsSync(state)).toBe(true);
  await task.kill(ctx);
  await task.wait();
  await task.delete(ctx);
  expect(existsSync(state)).toBe(false);
  await task.forget(ctx);
});

test("a second container is refused where the program does not join the pod's namespaces", async () => {
  // As programs do that run a container in a kernel of their own: its process has new namespaces, whatever is asked.
  const ignore = `case "$*" in *" create "*) ;; *) false;; esac && sed -i -E 's#("type":"uts"),"path":"[^"]*"#\\1#' "$(echo "$*" | sed -E 's#.* --bundle ([^ ]+) .*#\\1#')/config.json"`;
  await using node = await openOther(ignore);
  const inPod = async (hasSiblings: boolean): Promise<TaskRequest> => {
    const request = await node.request({ args: ["/bin/true"] });
    const { linux } = request.spec;
    const others = linux.namespaces.filter(({ type }) => type !== "uts");
    const uts = { type: "uts", path: "/proc/self/ns/uts" } as const;
    const spec = { ...request.spec, linux: { ...linux, namespaces: [...others, uts] } };
    return { ...request, spec, hasSiblings };
  };
  const alone = await inPod(false);
  const first = await node.runtime.create(ctx, alone);
  const request = await inPod(true);
  await expect(node.runtime.create(ctx, request)).rejects.toMatchObject({
    kind: "failed-precondition",
    message: expect.stringMatching(/namespaces \(uts\).*second container.*shim/),
  });
  for (const task of [first, node.runtime.task({ ...request, record: undefined })]) {
    await task.interrupt();
    await task.kill(ctx);
    await task.delete(ctx);
    await task.forget(ctx);
  }
  expect(readdirSync(`${node.programRoot}/elsewhere`)).toEqual([]);
});
