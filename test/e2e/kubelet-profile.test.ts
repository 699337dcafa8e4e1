import { describe, expect, test } from "bun:test";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { Kubelet } from "../harness/kubelet/kubelet.ts";
import { makeNode } from "../harness/kubelet/node.ts";
import { hasOwnNetwork, inOwnNetwork } from "../harness/own-network.ts";
import { demoImage } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

/** The next kubelet is built first, for six minutes: `CRIB_TEST_KUBELET_NEXT=1 bun test/parts/setup.ts`. */
const isWanted = process.env["CRIB_TEST_KUBELET_NEXT"] === "1";
if (isWanted && !hasOwnNetwork) inOwnNetwork(import.meta.path);

const patienceMs = 300_000;
const ref = `profiles.test/team/profile@sha256:${"0".repeat(64)}`;

describe.skipIf(!isWanted || !hasOwnNetwork)("a kubelet of 1.38 (KEP-6061)", () => {
  // v1.38.0-beta.0 has the profiles in its API and the calls in its client, and nothing in it calls them: it never asks
  // whether the runtime is capable. When this fails there is a kubelet that pulls profiles, and it is time to test that.
  test("refuses pods with seccomp profiles from registries by itself, whatever the runtime can do", async () => {
    using dir = tempDir("/var/tmp");
    using node = await makeNode(dir.path);
    await using daemon = await Daemon.start({ demoImage: true });
    await using kubelet = new Kubelet(dir.path, node, daemon);
    kubelet.apply({
      metadata: { name: "filtered", namespace: "default" },
      spec: {
        containers: [
          {
            name: "sh",
            image: demoImage,
            imagePullPolicy: "Never",
            securityContext: { seccompProfile: { type: "OCI", oci: { ref } } },
          },
        ],
      },
    });
    const kind = { apiVersion: "kubelet.config.k8s.io/v1beta1", kind: "KubeletConfiguration" };
    await kubelet.start({ ...kind, failCgroupV1: false }, { SecurityProfileOCI: true });
    await eventually(async () => {
      expect((await kubelet.pod("filtered")).status).toMatchObject({
        phase: "Failed",
        reason: "PodFeatureUnsupported",
      });
    }, patienceMs);
    expect((await daemon.cri.runtime.status({})).features?.seccompProfileOci).toBe(true);
    expect(daemon.log).not.toContain("PullSecurityProfile");
    kubelet.remove("filtered");
  });
});
