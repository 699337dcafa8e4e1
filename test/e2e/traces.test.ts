import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { createServer, type Socket } from "node:net";
import { create } from "@bufbuild/protobuf";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { type ReceivedSpan, startOtlpReceiver } from "../harness/otlp-receiver.ts";
import { demoImage, runPod, startScript } from "../harness/pod.ts";

const service = "runtime.v1.RuntimeService";

/** A client's place in a trace, as a kubelet sends it. */
function newParent() {
  const traceId = randomBytes(16).toString("hex");
  const spanId = randomBytes(8).toString("hex");
  return { traceId, spanId, headers: { traceparent: `00-${traceId}-${spanId}-01` } };
}

for (const [protocol, target] of [
  ["http/protobuf", "environment"],
  ["grpc", "environment"],
  ["http/protobuf", "configuration"],
] as const) {
  test(`over ${protocol}, by the ${target}, a pod start is one trace that continues its client's`, async () => {
    await using receiver = await startOtlpReceiver();
    const endpoint = `http://${protocol === "grpc" ? receiver.grpc : receiver.http}`;
    const inEnvironment = {
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
      OTEL_EXPORTER_OTLP_HEADERS: "x-test=from the variables",
      OTEL_SERVICE_NAME: "node-7",
      OTEL_TRACES_SAMPLER: "parentbased_always_off",
      OTEL_BSP_SCHEDULE_DELAY: "100",
    };
    const isInEnvironment = target === "environment";
    await using daemon = await Daemon.start({
      ...(isInEnvironment ? { env: inEnvironment } : {}),
      config: isInEnvironment ? "" : `[traces]\nendpoint = "${endpoint}"\nsample_percent = 0\n`,
    });
    // Not sampled: neither its client nor the daemon wants it.
    await daemon.cri.image.pullImage({ image: { image: demoImage } });
    const parent = newParent();
    const { headers } = parent;
    const pod = await runPod(daemon.cri, daemon.root);
    const metadata = create(pb.PodSandboxMetadataSchema, {
      ...{ name: "traced", namespace: "test", uid: "1", attempt: 0 },
    });
    const { podSandboxId } = await daemon.cri.runtime.runPodSandbox(
      { config: { ...pod.config, metadata } },
      { headers },
    );
    const missing = { podSandboxId: "0".repeat(64) };
    await daemon.cri.runtime.podSandboxStatus(missing, { headers }).catch(() => {});
    const spans = await eventually(() => {
      expect(receiver.spans.length).toBeGreaterThan(6);
      const found = receiver.spans.find(({ name }) => name.endsWith("PodSandboxStatus"));
      expect(found).toMatchObject({ status: "STATUS_CODE_ERROR" });
      return receiver.spans;
    });
    expect(new Set(spans.map(({ traceId }) => traceId))).toEqual(new Set([parent.traceId]));
    const rpc = spans.find(({ name }) => name === `${service}/RunPodSandbox`) as ReceivedSpan;
    expect(rpc).toMatchObject({
      over: protocol === "grpc" ? "grpc" : "http",
      parentSpanId: parent.spanId,
      kind: "SPAN_KIND_SERVER",
      status: "STATUS_CODE_UNSET",
      service: isInEnvironment ? "node-7" : "crib",
      header: isInEnvironment ? "from the variables" : "",
      attributes: {
        "rpc.system": "grpc",
        "rpc.service": service,
        "rpc.method": "RunPodSandbox",
        "k8s.namespace.name": "test",
        "k8s.pod.name": "traced",
        "crib.sandbox": podSandboxId,
      },
    });
    const steps = spans.filter(({ parentSpanId }) => parentSpanId === rpc.spanId);
    expect(new Set(steps.map(({ name }) => name))).toEqual(
      new Set([
        "records.write",
        "sandbox.files",
        "network.namespaces",
        "network.attach",
        "plugins.call",
      ]),
    );
    expect(steps.length + 2).toBe(spans.length);
    await daemon.cri.runtime.removePodSandbox({ podSandboxId });
  });
}

test("a collector that is not there, or does not respond, costs no call anything", async () => {
  // One that takes connections and says nothing.
  const sockets: Socket[] = [];
  const mute = createServer((socket) => void sockets.push(socket.on("error", () => {})));
  await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
  const address = mute.address();
  const port = typeof address === "object" ? address?.port : 0;
  try {
    for (const [endpoint, protocol] of [
      ["http://127.0.0.1:1", "http/protobuf"],
      [`http://127.0.0.1:${port}`, "grpc"],
    ] as const) {
      await using daemon = await Daemon.start({
        env: {
          OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: endpoint,
          OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: protocol,
          OTEL_BSP_SCHEDULE_DELAY: "100",
          OTEL_BSP_MAX_QUEUE_SIZE: "64",
          OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "32",
        },
      });
      await daemon.cri.image.pullImage({ image: { image: demoImage } });
      const pod = await runPod(daemon.cri, daemon.root);
      await startScript(daemon.cri, pod, "exit 0");
      // More spans than wait for a collector.
      for (let i = 0; i < 300; i++) await daemon.cri.runtime.version({});
      await daemon.cri.runtime.removePodSandbox({ podSandboxId: pod.id });
      if (protocol !== "grpc") {
        await eventually(() => expect(daemon.log).toContain('"traces not exported"'));
      } else {
        await eventually(() => expect(sockets.length).toBeGreaterThan(0));
      }
    }
  } finally {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => mute.close(resolve));
  }
});

test("what cannot be exported by is said once, and the node serves", async () => {
  await using daemon = await Daemon.start({
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1",
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    },
  });
  await daemon.cri.runtime.version({});
  expect(daemon.log).toContain("OTLP protocol http/json: http/protobuf and grpc are supported");
});
