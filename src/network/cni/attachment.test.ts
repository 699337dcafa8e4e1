import { describe, expect, test } from "bun:test";
import { generateSandboxId } from "../../lib/id.ts";
import { type Attachment, checkAttachment, runtimeConfigOf, salvage } from "./attachment.ts";
import { asBandwidth } from "./bandwidth.ts";

const pod: Attachment = {
  sandboxId: generateSandboxId(),
  netnsPath: "/var/run/netns/x",
  podName: "web",
  podNamespace: "default",
  podUid: "u1",
  portMappings: [{ protocol: "tcp", containerPort: 80, hostPort: 8080, hostIp: "" }],
  annotations: { "example.com/pool": "blue" },
  dns: { servers: ["10.0.0.10"], searches: ["svc"], options: ["ndots:5"] },
  cgroupParent: "/kubepods/pod1",
};

const key = "kubernetes.io/ingress-bandwidth";

describe("asBandwidth()", () => {
  test.each([
    ["1k", 1e3],
    ["1000", 1e3],
    ["10M", 1e7],
    ["1e6", 1e6],
    ["1.5E3", 1500],
    ["+2M", 2e6],
    [".5M", 5e5],
    ["5.M", 5e6],
    ["1Mi", 2 ** 20],
    ["1000000m", 1e3],
    ["1P", 1e15],
    ["0.001E", 1e15],
  ])("reads the quantity %s", (text, rate) => {
    expect(asBandwidth({ [key]: text })?.ingressRate).toBe(rate);
  });

  test.each([
    ...["", "0", "1", "999", "-5M", "100P", "1E", "1Ei", "garbage", "10 M", "1,5M", "M", ".", "+"],
    ...["1e", "1e99999", "1MB", "10Mbit", "0x10M", "Infinity", "NaN", "１０M", "10M\n"],
  ])("refuses %j", (text) => {
    expect(() => asBandwidth({ [key]: text })).toThrow("is not a rate");
  });
});

describe("checkAttachment()", () => {
  test("takes what a kubelet sends", () => {
    expect(() => checkAttachment(pod)).not.toThrow();
  });

  test.each<[string, Partial<Attachment>]>([
    ["a limit that is none", { annotations: { [key]: "fast" } }],
    ["a name with an argument in it", { podName: "a;K8S_POD_UID=x" }],
    ["a host address that is none", { portMappings: [mapping({ hostIp: "localhost" })] }],
    ["an unknown protocol", { portMappings: [mapping({ protocol: "3" })] }],
    ["a port over 65535", { portMappings: [mapping({ hostPort: 65_536 })] }],
  ])("refuses %s, which salvage() leaves out", (_, wrong) => {
    expect(() => checkAttachment({ ...pod, ...wrong })).toThrow();
    const { runtimeConfig, cniArgs } = salvage({ ...pod, ...wrong });
    expect(runtimeConfig).toMatchObject({ cgroupPath: "/kubepods/pod1" });
    expect(cniArgs).toContain(`K8S_POD_INFRA_CONTAINER_ID=${pod.sandboxId}`);
  });

  function mapping(wrong: object) {
    return { protocol: "tcp", containerPort: 80, hostPort: 8080, hostIp: "", ...wrong };
  }
});

test("runtimeConfigOf() has every capability that containerd and CRI-O pass", () => {
  const limited = { ...pod, annotations: { ...pod.annotations, [key]: "10M" } };
  expect(runtimeConfigOf(limited)).toEqual({
    portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
    bandwidth: { ingressRate: 1e7, ingressBurst: 4e6 },
    dns: { servers: ["10.0.0.10"], searches: ["svc"], options: ["ndots:5"] },
    cgroupPath: "/kubepods/pod1",
    "io.kubernetes.cri.pod-annotations": limited.annotations,
  });
});
