import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import fc from "fast-check";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { leftOvers } from "../harness/leaks.ts";
import { hasOwnNetwork, inOwnNetwork } from "../harness/own-network.ts";
import { createScript, demoImage, type Pod, runPod, startScript } from "../harness/pod.ts";
import { containerHints, podHints } from "../harness/requests/hints.ts";
import { type Mutation, mutate, mutationOf } from "../harness/requests/mutations.ts";
import { tempDir } from "../harness/temp-dir.ts";

if (!hasOwnNetwork) inOwnNetwork(import.meta.path);

/** Requests of each kind for each network; a day's worth by option. */
const count = Number(process.env["CRIB_TEST_REQUESTS"] ?? "30");
/** A run that failed says its seed: with it the same requests come again. */
const seed = Number(process.env["CRIB_TEST_SEED"] ?? "20261130");

/** As a cluster's network provider installs it: all that a pod can ask of a network is asked of this one. */
const conflist = (dataDir: string) => ({
  cniVersion: "1.0.0",
  name: "requests",
  plugins: [
    {
      ...{ type: "bridge", bridge: "requests0", isGateway: true, ipMasq: true },
      ipam: { type: "host-local", dataDir, ranges: [[{ subnet: "10.77.0.0/16" }]] },
    },
    { type: "portmap", capabilities: { portMappings: true } },
    { type: "bandwidth", capabilities: { bandwidth: true } },
  ],
});

const pods = fc.array(mutationOf(pb.PodSandboxConfigSchema, podHints), {
  minLength: 1,
  maxLength: 3,
});
const containers = fc.array(mutationOf(pb.ContainerConfigSchema, containerHints), {
  minLength: 1,
  maxLength: 3,
});

/** What a refusal may be: never the runtime's own fault. */
const refusals = new Set([
  ...[Code.InvalidArgument, Code.NotFound, Code.FailedPrecondition, Code.Unimplemented],
  ...[Code.ResourceExhausted, Code.AlreadyExists],
]);

/** What broke something once comes in every run. */
const knownPods: readonly (readonly Mutation[])[] = [
  ...["garbage", "1", "0", "", "-5M", "100P"].map((rate) => [
    { path: ["annotations"], value: { "kubernetes.io/ingress-bandwidth": rate } },
  ]),
  ...["/", "/a b"].map((parent) => [{ path: ["linux", "cgroup_parent"], value: parent }]),
];

/** What can only be found out by trying. */
const byTheKernel = /^(runc create: runc create failed|sysctl )/;

for (const network of ["embedded", "conflist"] as const) {
  describe.skipIf(!hasOwnNetwork)(`requests of all kinds, ${network} network`, () => {
    const resources = new AsyncDisposableStack();
    let dir: string;
    let daemon: Daemon;
    let witness: Pod;
    let witnessContainer: string;
    let attempt = 0;

    beforeAll(async () => {
      dir = resources.use(tempDir("/var/tmp")).path;
      const root = `${dir}/root`;
      mkdirSync(`${root}/net.d`, { recursive: true });
      if (network === "conflist") {
        const text = JSON.stringify(conflist(`${dir}/addresses`));
        writeFileSync(`${root}/net.d/10-requests.conflist`, text);
      }
      daemon = resources.use(await Daemon.start({ demoImage: true, root }));
      witness = await runPod(daemon.cri, dir);
      witnessContainer = await startScript(daemon.cri, witness, "sleep 100000");
    });
    afterAll(() => resources.disposeAsync());

    const podConfig = () => {
      const name = `pod-${++attempt}`;
      return create(pb.PodSandboxConfigSchema, {
        metadata: { name, namespace: "test", uid: crypto.randomUUID(), attempt: 0 },
        hostname: name,
        logDirectory: `${dir}/logs/${name}`,
        linux: {
          cgroupParent: `/crib-test/${name}`,
          securityContext: { namespaceOptions: { pid: pb.NamespaceMode.CONTAINER } },
        },
      });
    };

    /** Every list and every reading succeeds, with the witness in it and with nothing else but `ids`. */
    const expectAnswers = async (ids: readonly string[], containerIds: readonly string[]) => {
      const { runtime } = daemon.cri;
      const sandboxes = await runtime.listPodSandbox({});
      expect(sandboxes.items.map(({ id }) => id).sort()).toEqual([witness.id, ...ids].sort());
      const listed = await runtime.listContainers({});
      const all = [witnessContainer, ...containerIds].sort();
      expect(listed.containers.map(({ id }) => id).sort()).toEqual(all);
      const podStats = await runtime.listPodSandboxStats({});
      const cpu = podStats.stats.find(({ attributes }) => attributes?.id === witness.id)?.linux
        ?.cpu;
      expect(cpu?.usageCoreNanoSeconds?.value).toBeGreaterThan(0n);
      const stats = await runtime.listContainerStats({});
      expect(stats.stats.map(({ attributes }) => attributes?.id ?? "").sort()).toEqual(all);
      const metrics = await runtime.listPodSandboxMetrics({});
      expect(metrics.podMetrics.map(({ podSandboxId }) => podSandboxId)).toContain(witness.id);
      for (const podSandboxId of ids) {
        await runtime.podSandboxStatus({ podSandboxId, verbose: true });
        await runtime.podSandboxStats({ podSandboxId });
      }
      for (const containerId of containerIds) {
        await runtime.containerStatus({ containerId, verbose: true });
        await runtime.containerStats({ containerId });
      }
    };

    /** Nothing is on the node but the witness. */
    const expectClean = () => {
      const known = [witness.id, witnessContainer];
      const present = [
        ...readdirSync(`${daemon.state}/sandboxes`),
        ...readdirSync(`${daemon.state}/containers`),
        ...readdirSync(`${daemon.root}/snapshots/containers`),
      ].filter((name) => !known.some((id) => name.startsWith(id)));
      expect(present).toEqual([]);
    };

    /** Each request that something was wrong with. They are independent: one fault does not hide the next. */
    const failuresOf = async (
      requests: fc.Arbitrary<readonly Mutation[]>,
      attemptOne: (mutations: readonly Mutation[]) => Promise<void>,
      known: readonly (readonly Mutation[])[],
      keep: readonly string[] = [],
    ) => {
      const failures: string[] = [];
      const generated = fc.sample(requests, { numRuns: count, seed });
      for (const mutations of [...known, ...generated]) {
        try {
          await attemptOne(mutations);
        } catch (err) {
          const why = Bun.stripANSI(String(err instanceof Error ? err.message : err));
          failures.push(`${shown(mutations)}: ${why.replaceAll(/\s+/g, " ").slice(0, 500)}`);
          failures.push(...(await removeAllBut([witness.id, ...keep])));
        }
        expect(daemon.isRunning).toBe(true);
      }
      return failures;
    };

    /** So that the next request finds the node as this one did. What cannot be removed is a failure as well. */
    const removeAllBut = async (ids: readonly string[]) => {
      const { runtime } = daemon.cri;
      const failures: string[] = [];
      const note = (err: unknown) => void failures.push(`left: ${ConnectError.from(err).message}`);
      for (const { id: podSandboxId } of (await runtime.listPodSandbox({})).items) {
        if (ids.includes(podSandboxId)) continue;
        await runtime.removePodSandbox({ podSandboxId }).catch(note);
      }
      for (const { id: containerId } of (await runtime.listContainers({})).containers) {
        if (containerId === witnessContainer) continue;
        await runtime.removeContainer({ containerId }).catch(note);
      }
      return failures;
    };

    const outcomeOf = async <T>(call: Promise<T>): Promise<T | undefined> => {
      try {
        return await call;
      } catch (err) {
        const { code, rawMessage } = ConnectError.from(err);
        if (refusals.has(code) || byTheKernel.test(rawMessage)) return undefined;
        throw err;
      }
    };

    test("a sandbox is taken or refused as a whole, and whatever is listed can be removed", async () => {
      let taken = 0;
      const attemptOne = async (mutations: readonly Mutation[]) => {
        const { runtime } = daemon.cri;
        const config = mutate(pb.PodSandboxConfigSchema, podConfig(), mutations);
        const made = await outcomeOf(runtime.runPodSandbox({ config }));
        if (made === undefined) {
          await expectAnswers([], []);
          expectClean();
          return;
        }
        taken++;
        const { podSandboxId } = made;
        await expectAnswers([podSandboxId], []);
        // What was taken is good for a plain container.
        const pod = { id: podSandboxId, config };
        const containerId = await createScript(daemon.cri, pod, "sleep 100000", {
          logPath: "",
          linux: { resources: {}, securityContext: ofPod(config) },
        });
        await expectAnswers([podSandboxId], [containerId]);
        await runtime.stopPodSandbox({ podSandboxId });
        await expectAnswers([podSandboxId], [containerId]);
        await runtime.removePodSandbox({ podSandboxId });
        await expectAnswers([], []);
        expectClean();
      };
      expect(await failuresOf(pods, attemptOne, knownPods)).toEqual([]);
      // Otherwise the requests are too bad to say anything.
      expect(taken).toBeGreaterThan(count / 5);
    });

    test("a container is taken or refused as a whole, and whatever is listed can be removed", async () => {
      const pod = await runPod(daemon.cri, dir);
      let taken = 0;
      const attemptOne = async (mutations: readonly Mutation[]) => {
        const { runtime } = daemon.cri;
        const base = create(pb.ContainerConfigSchema, {
          metadata: { name: `container-${++attempt}`, attempt: 0 },
          image: { image: demoImage },
          command: ["/bin/sleep", "100000"],
          logPath: `container-${attempt}.log`,
          linux: {
            resources: {},
            securityContext: { namespaceOptions: { pid: pb.NamespaceMode.CONTAINER } },
          },
        });
        const config = mutate(pb.ContainerConfigSchema, base, mutations);
        const made = await outcomeOf(
          runtime.createContainer({ podSandboxId: pod.id, config, sandboxConfig: pod.config }),
        );
        if (made === undefined) {
          await expectAnswers([pod.id], []);
          return;
        }
        taken++;
        const { containerId } = made;
        await expectAnswers([pod.id], [containerId]);
        await runtime.stopContainer({ containerId, timeout: 0n });
        await expectAnswers([pod.id], [containerId]);
        await runtime.removeContainer({ containerId });
        await expectAnswers([pod.id], []);
      };
      expect(await failuresOf(containers, attemptOne, [], [pod.id])).toEqual([]);
      expect(taken).toBeGreaterThan(count / 5);
      await daemon.cri.runtime.stopPodSandbox({ podSandboxId: pod.id });
      await daemon.cri.runtime.removePodSandbox({ podSandboxId: pod.id });
      expectClean();
    });

    test("nothing of all that is left on the node", async () => {
      await daemon.cri.runtime.removePodSandbox({ podSandboxId: witness.id });
      // Interfaces and addresses go after the answer.
      await eventually(() => expect(leftOvers(daemon, [])).toEqual([]));
    });
  });
}

/** A container in the pod's namespaces as a kubelet asks for it. */
function ofPod({ linux }: pb.PodSandboxConfig) {
  const asked = linux?.securityContext?.namespaceOptions;
  return {
    namespaceOptions: {
      network: asked?.network ?? pb.NamespaceMode.POD,
      ipc: asked?.ipc ?? pb.NamespaceMode.POD,
      pid: asked?.pid ?? pb.NamespaceMode.POD,
      targetId: "",
      ...(asked?.usernsOptions === undefined ? {} : { usernsOptions: asked.usernsOptions }),
    },
  };
}

/** For people, and short. */
function shown(mutations: readonly Mutation[]): string {
  return mutations
    .map(({ path, value }) => {
      const text = JSON.stringify(value, (_, one) => (typeof one === "bigint" ? String(one) : one));
      return `${path.join(".")}=${(text ?? "absent").slice(0, 200)}`;
    })
    .join(" & ");
}
