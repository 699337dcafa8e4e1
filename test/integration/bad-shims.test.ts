import { describe, expect, test } from "bun:test";
import { copyFileSync, existsSync, readdirSync, writeFileSync } from "node:fs";
import { describe as describeError } from "../../src/lib/errors.ts";
import { eventually } from "../harness/eventually.ts";
import { testProcess } from "../harness/oci-bundle.ts";
import { ctx, ShimmedNode } from "../harness/shimmed.ts";
import { type TempDir, tempDir } from "../harness/temp-dir.ts";
import { parts } from "../parts/paths.ts";

/** What test/parts/shims/fake/main.go reads. */
interface Behaviour {
  readonly Start?: string;
  readonly Dies?: string;
  readonly Garbage?: string;
  readonly Flood?: string;
  readonly Hangs?: string;
  readonly CreateMs?: number;
  readonly DeleteFailsMs?: number;
}

async function withShim(
  behaviour: Behaviour,
  run: (node: ShimmedNode, change: (behaviour: Behaviour) => void) => Promise<void>,
  commandMs?: number,
): Promise<void> {
  using dir: TempDir = tempDir();
  const path = `${dir.path}/containerd-shim-fake-v2`;
  copyFileSync(parts.shims.fake, path);
  const change = (next: Behaviour) => writeFileSync(`${dir.path}/fake.json`, JSON.stringify(next));
  change(behaviour);
  const node = await ShimmedNode.open({ path }, commandMs);
  try {
    await run(node, change);
  } finally {
    await node[Symbol.asyncDispose]();
  }
  expect(node.shims()).toEqual([]);
}

const exec = (...args: readonly string[]) => ({
  process: { ...testProcess(args), terminal: false } as never,
});

const failureOf = async (promise: Promise<unknown>): Promise<string> =>
  await promise.then(
    () => "",
    (err) => describeError(err),
  );

describe("a shim like Kata's", () => {
  test("has one process for a pod, a slow machine, one pid for all, and cannot delete at once", async () => {
    await withShim({ CreateMs: 1500, DeleteFailsMs: 1000 }, async (node) => {
      const pod = await node.sandbox();
      const first = await node.run(pod.id, "echo one; exit 3");
      const second = await node.run(pod.id, "echo two; sleep 1000");
      expect(node.shims().length).toBe(1);
      expect([first.record?.pid, second.record?.pid]).toEqual([pod.record?.pid, pod.record?.pid]);
      expect(await first.wait()).toMatchObject({ exitCode: 3 });
      expect(node.log(first.id)).toBe("one\n");
      // Of what never was, of what has ended, and of one of two.
      await node.discard(first.id);
      expect(second.isEnding()).toBe(false);
      const result = await second.execSync(ctx, {
        ...exec("/bin/sh", "-c", "echo a; exit 4"),
        timeoutMs: 0,
      });
      expect([result.exitCode, `${result.stdout}`]).toEqual([4, "a\n"]);
      await second.signal(ctx, 15);
      expect(await second.wait()).toMatchObject({ exitCode: 143 });
      await node.discard(second.id);
      await node.restartDaemon();
      const again = node.again(pod);
      expect(await again.recover(ctx, node.recovery(pod.id))).toEqual({ status: "running" });
    });
  });

  test("that dies takes its pod along, although its delete knows only what was created", async () => {
    await withShim({}, async (node) => {
      const pod = await node.sandbox();
      const task = await node.run(pod.id, "sleep 1000");
      node.kill(node.shimOf(pod.id));
      expect(await task.wait()).toMatchObject({ exitCode: 137 });
      expect(await pod.wait()).toMatchObject({ exitCode: 137 });
    });
  });
});

describe("a shim whose start", () => {
  test.each([
    ["prints nonsense", "nonsense", "the shim's start printed no address"],
    ["prints nothing", "empty", "the shim's start printed nothing"],
    ["fails", "fail", "no luck today"],
    ["prints 100 MB", "flood", "wrote more than"],
    ["hangs", "hang", "took over 2000 ms"],
  ])("%s is one clear error, and nothing is left", async (_name, Start, message) => {
    await withShim(
      { Start },
      async (node, change) => {
        const failure = await failureOf(node.sandbox());
        expect(failure).toContain("containerd-shim-fake-v2 start");
        expect(failure).toContain(message);
        expect(failure).not.toContain("\n");
        change({});
        await node.run((await node.sandbox()).id, "true");
      },
      2000,
    );
  });

  test("leaves its descriptors open to the server works all the same", async () => {
    await withShim({ Start: "fork" }, async (node) => {
      const pod = await node.sandbox();
      expect(await (await node.run(pod.id, "exit 5")).wait()).toMatchObject({ exitCode: 5 });
    });
  });

  test("hangs can be interrupted", async () => {
    await withShim({ Start: "hang" }, async (node) => {
      const creating = failureOf(node.sandbox());
      await eventually(() => expect(node.shims().length).toBe(1));
      const [id = ""] = readdirSync(`${node.stateDir}/containers`);
      const bundleDir = `${node.stateDir}/containers/${id}`;
      await node.runtime
        .task({ id, bundleDir, cgroupPath: undefined, record: undefined })
        .interrupt();
      expect(await creating).toContain("interrupted");
    });
  });
});

describe("a shim that", () => {
  const calls = ["Create", "Start", "State", "Kill", "Delete", "Exec", "Wait", "Pids", "Shutdown"];
  test.each(calls)("dies at %s is told of, and its pod can be removed", async (Dies) => {
    await withShim({}, async (node, change) => {
      const pod = await node.sandbox();
      change({ Dies });
      // Of a shim of its own, which reads how it is to behave when it is started.
      const other = await node.sandbox().catch((err) => describeError(err));
      if (typeof other === "string")
        expect(other).toMatch(/^containerd-shim-fake-v2 (Create|Start)/);
      else {
        const task = await node.run(other.id, "sleep 1000").catch(() => undefined);
        const command = { ...exec("/bin/true"), timeoutMs: 0 };
        await task?.execSync(ctx, command).catch(() => {});
        await task?.countProcesses(ctx).catch(() => {});
        await task?.kill(ctx).catch(() => {});
        expect(await task?.wait()).toMatchObject({ exitCode: 137 });
      }
      expect(pod.isEnding()).toBe(false);
    });
  });

  test.each(["Create", "Start", "Wait", "Exec", "Pids", "Delete"])(
    "responds to %s with nonsense causes an error, and its pod can be removed",
    async (Garbage) => {
      await withShim({ Garbage }, async (node) => {
        const pod = await node.sandbox().catch(() => undefined);
        if (pod === undefined) return;
        const task = await node.run(pod.id, "sleep 1000").catch(() => undefined);
        await task?.execSync(ctx, { ...exec("/bin/true"), timeoutMs: 0 }).catch(() => {});
        await task?.countProcesses(ctx).catch(() => {});
        await task?.kill(ctx).catch(() => {});
      });
    },
  );

  test("sends 100 MB is cut off", async () => {
    await withShim({ Flood: "Pids" }, async (node) => {
      const pod = await node.sandbox();
      expect(await failureOf(pod.countProcesses(ctx))).toContain("containerd-shim-fake-v2 Pids");
    });
  });

  test("never returns from Create can be interrupted", async () => {
    await withShim({ Hangs: "Create" }, async (node) => {
      const creating = failureOf(node.sandbox());
      await eventually(() => expect(node.shims().length).toBeGreaterThan(0));
      const [id = ""] = readdirSync(`${node.stateDir}/containers`);
      const bundleDir = `${node.stateDir}/containers/${id}`;
      await eventually(() => expect(existsSync(`${bundleDir}/bootstrap.json`)).toBe(true));
      await node.runtime
        .task({ id, bundleDir, cgroupPath: undefined, record: undefined })
        .interrupt();
      expect(await creating).toContain("interrupted");
    });
  });
});
