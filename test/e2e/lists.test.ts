import { expect, test } from "bun:test";
import { createClient } from "@connectrpc/connect";
import { ServerReflection } from "../../src/gen/grpc/reflection/v1/reflection_pb.ts";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import { connectTransport } from "../harness/connect-transport.ts";
import { Daemon } from "../harness/daemon.ts";
import { createScript, demoImage, runPod, startScript } from "../harness/pod.ts";
import { tempDir } from "../harness/temp-dir.ts";

test("streamed lists have what the plain ones have, under the same filters", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const { runtime, image } = daemon.cri;
  const pods = await Promise.all(
    ["a", "b", "c"].map((app) => runPod(daemon.cri, logs.path, { labels: { app } })),
  );
  const [first] = pods;
  if (first === undefined) throw new Error("no pod");
  const created = await createScript(daemon.cri, first, "exit 0");
  const running = await startScript(daemon.cri, first, "sleep 1000", { labels: { app: "web" } });

  const streamedPods = async (filter: object) => {
    const found: pb.PodSandbox[] = [];
    for await (const { podSandboxes } of runtime.streamPodSandboxes({ filter })) {
      found.push(...podSandboxes);
    }
    return found;
  };
  for (const filter of [{}, { labelSelector: { app: "b" } }, { id: first.id }, { id: "ffff" }]) {
    expect(await streamedPods(filter)).toEqual((await runtime.listPodSandbox({ filter })).items);
  }
  expect(await streamedPods({})).toHaveLength(3);

  const streamedContainers = async (filter: object) => {
    const found: pb.Container[] = [];
    for await (const { containers } of runtime.streamContainers({ filter })) {
      found.push(...containers);
    }
    return found;
  };
  const states = [pb.ContainerState.CONTAINER_RUNNING, pb.ContainerState.CONTAINER_CREATED];
  for (const filter of [
    {},
    ...states.map((state) => ({ state: { state } })),
    { labelSelector: { app: "web" } },
    { podSandboxId: first.id, id: created },
  ]) {
    const { containers } = await runtime.listContainers({ filter });
    expect(await streamedContainers(filter)).toEqual(containers);
  }
  expect((await streamedContainers({})).map(({ id }) => id)).toEqual([created, running]);

  const streamedImages = async (name: string) => {
    const found: pb.Image[] = [];
    for await (const { images } of image.streamImages({ filter: { image: { image: name } } })) {
      found.push(...images);
    }
    return found;
  };
  expect((await streamedImages("")).map(({ repoTags }) => repoTags)).toEqual([[demoImage]]);
  expect(await streamedImages(demoImage)).toEqual((await image.listImages({})).images);
  expect(await streamedImages("nobody.example/has:this")).toEqual([]);
});

test("server reflection names the services of the socket", async () => {
  await using daemon = await Daemon.start();
  const client = createClient(ServerReflection, connectTransport(daemon.socket));
  async function* questions() {
    yield { messageRequest: { case: "listServices", value: "" } } as const;
  }
  for await (const { messageResponse } of client.serverReflectionInfo(questions())) {
    if (messageResponse.case !== "listServicesResponse") throw new Error(messageResponse.case);
    const names = messageResponse.value.service.map(({ name }) => name);
    expect(names).toContain("runtime.v1.RuntimeService");
    expect(names).toContain("runtime.v1.ImageService");
  }
});
