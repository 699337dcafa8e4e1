import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import * as pb from "../../src/gen/runtime/v1/api_pb.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { makeArtifact, pushImage, sha256 } from "../harness/images/oci-image.ts";
import { executable } from "../harness/payload.ts";
import { createScript, demoImage, readLog, runPod, startScript, statusOf } from "../harness/pod.ts";
import { startRegistry, writeMirrors } from "../harness/registry-server.ts";
import { tempDir } from "../harness/temp-dir.ts";

const volume = (init: MessageInitShape<typeof pb.MountSchema> = {}) =>
  create(pb.MountSchema, {
    containerPath: "/volume",
    readonly: true,
    image: { image: demoImage },
    ...(init as object),
  });

async function output(daemon: Daemon, id: string): Promise<string> {
  return await eventually(async () => {
    const { state, logPath } = await statusOf(daemon.cri, id);
    if (state !== pb.ContainerState.CONTAINER_EXITED) throw new Error("it has not ended");
    return readLog(logPath) + readLog(logPath, "stderr");
  });
}

/** Mounts that the daemon has made. */
function mounts(daemon: Daemon): readonly string[] {
  const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  return lines.filter((line) => line.includes(daemon.state) || line.includes(daemon.root));
}

/** The message of a promise that must fail. */
function failure(promise: Promise<unknown>): Promise<string> {
  return promise.then(() => "it succeeded", String);
}

test("an image as a volume: read-only, by id or name, whole or a part, kept while it is used", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const { image } = daemon.cri;
  const { image: demo } = await image.imageStatus({ image: { image: demoImage } });
  const pod = await runPod(daemon.cri, logs.path);
  const before = mounts(daemon);
  const script = `
    /volume/bin/busybox echo runs; echo x >/volume/new; ls /part/busybox; cat /file >/dev/null && echo file
    sleep 1; ls -d /volume/bin`;
  const id = await startScript(daemon.cri, pod, script, {
    mounts: [
      volume({ image: { image: demo?.id ?? "" } }),
      volume({ containerPath: "/part", imageSubPath: "../../bin" }),
      volume({ containerPath: "/file", imageSubPath: "/bin/busybox" }),
    ],
  });
  const { mounts: shown } = await statusOf(daemon.cri, id);
  expect(shown.map((mount) => [mount.image?.image, mount.image?.imageRef])).toEqual([
    [demo?.id, demo?.id],
    [demoImage, demo?.id],
    [demoImage, demo?.id],
  ]);
  await image.removeImage({ image: { image: demoImage } });
  expect(await output(daemon, id)).toBe(
    "runs\n/part/busybox\nfile\n/volume/bin\n/bin/sh: can't create /volume/new: Read-only file system\n",
  );
  await daemon.cri.runtime.removeContainer({ containerId: id });
  expect(mounts(daemon)).toEqual(before);
});

test("an image as a volume of a pod with a user namespace belongs to the pod's root", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const ids = [{ containerId: 0, hostId: 300_000, length: 65_536 }];
  const securityContext = {
    namespaceOptions: {
      pid: pb.NamespaceMode.CONTAINER,
      usernsOptions: { mode: pb.NamespaceMode.POD, uids: ids, gids: ids },
    },
  };
  const pod = await runPod(daemon.cri, logs.path, {
    linux: create(pb.LinuxPodSandboxConfigSchema, { securityContext }),
  });
  const id = await startScript(daemon.cri, pod, "stat -c %u:%g /volume /volume/bin/busybox", {
    linux: create(pb.LinuxContainerConfigSchema, { securityContext }),
    mounts: [volume()],
  });
  expect(await output(daemon, id)).toBe("0:0\n0:0\n");
});

test("an image volume that cannot be is refused with its reason, and leaves nothing", async () => {
  using logs = tempDir();
  await using daemon = await Daemon.start({ demoImage: true });
  const pod = await runPod(daemon.cri, logs.path);
  const before = mounts(daemon);
  for (const [mount, why] of [
    [volume({ image: { image: "no.such/image:1" } }), "not found"],
    [volume({ imageSubPath: "no/such" }), "no such sub path"],
    [volume({ readonly: false }), "not read-only"],
    [volume({ propagation: pb.MountPropagation.PROPAGATION_BIDIRECTIONAL }), "propagation"],
  ] as const) {
    const message = await failure(
      createScript(daemon.cri, pod, "true", { mounts: [volume({ containerPath: "/a" }), mount] }),
    );
    expect(message).toContain("ImageVolumeMountFailed");
    expect(message).toContain(why);
    expect(mounts(daemon)).toEqual(before);
  }
});

test("an artifact is pulled, listed and mounted like an image, and no container is made of it", async () => {
  using logs = tempDir();
  using mirrors = tempDir();
  using data = tempDir();
  const files = ["model/weights", "model/config.json"].map((title) => {
    return { title, bytes: Buffer.from(`${title}\n`) };
  });
  const bytes = Buffer.from([0xff, 0, 1]);
  const config = { mediaType: "application/x-binary", digest: sha256(bytes), bytes };
  const artifact = makeArtifact(files, { type: "application/vnd.example.model", config });
  const name = "gcr.io/test/model:1";
  const { digest } = artifact.manifest;
  await using registry = await startRegistry({ dataDir: data.path, writable: true });
  await pushImage(registry.url, "test/model", "1", artifact);
  await writeMirrors(mirrors.path, registry.host);
  await using daemon = await Daemon.start({ demoImage: true, registryConfigDir: mirrors.path });
  const { image } = daemon.cri;
  expect((await image.pullImage({ image: { image: name } })).imageRef).toBe(digest);
  const { images } = await image.listImages({ filter: { image: { image: name } } });
  expect(images).toMatchObject([
    { id: digest, repoTags: [name], repoDigests: [`gcr.io/test/model@${digest}`] },
  ]);
  expect((await image.imageStatus({ image: { image: name }, verbose: true })).info["info"]).toBe(
    '{"artifactType":"application/vnd.example.model"}',
  );

  const inspect = Bun.spawnSync([executable, "image", "inspect", name], {
    env: { ...daemon.env, CRIB_SOCKET: `unix://${daemon.socket}` },
  });
  expect(JSON.parse(inspect.stdout.toString())).toMatchObject({
    id: digest,
    config: { bytes: bytes.byteLength },
    manifests: [{ artifactType: "application/vnd.example.model" }],
  });

  const ids = [{ containerId: 0, hostId: 300_000, length: 65_536 }];
  const securityContext = {
    namespaceOptions: {
      pid: pb.NamespaceMode.CONTAINER,
      usernsOptions: { mode: pb.NamespaceMode.POD, uids: ids, gids: ids },
    },
  };
  const linux = create(pb.LinuxContainerConfigSchema, { securityContext });
  const pods = [
    await runPod(daemon.cri, logs.path),
    await runPod(daemon.cri, logs.path, {
      linux: create(pb.LinuxPodSandboxConfigSchema, { securityContext }),
    }),
  ];
  const before = mounts(daemon);
  const script =
    "cat /volume/model/* /part/weights /file; stat -c %a:%u:%g:%Y /file; echo x >/part/new; sleep 1; cat /file";
  const ofArtifact = { image: { image: digest, userSpecifiedImage: name } };
  const containers: string[] = [];
  for (const [i, pod] of pods.entries()) {
    const id = await startScript(daemon.cri, pod, script, {
      ...(i === 0 ? {} : { linux }),
      mounts: [
        volume(ofArtifact),
        volume({ ...ofArtifact, containerPath: "/part", imageSubPath: "model" }),
        volume({ ...ofArtifact, containerPath: "/file", imageSubPath: "model/weights" }),
      ],
    });
    containers.push(id);
    expect((await statusOf(daemon.cri, id)).mounts[0]?.image?.imageRef).toBe(digest);
  }
  expect(
    await failure(createScript(daemon.cri, pods[0] ?? ("" as never), "true", ofArtifact)),
  ).toContain("no container image but an artifact of type");
  await image.removeImage({ image: { image: name } });
  expect((await image.imageStatus({ image: { image: name } })).image).toBeUndefined();
  for (const id of containers) {
    expect(await output(daemon, id)).toBe(
      "model/config.json\nmodel/weights\nmodel/weights\nmodel/weights\n644:0:0:0\nmodel/weights\n/bin/sh: can't create /part/new: Read-only file system\n",
    );
    await daemon.cri.runtime.removeContainer({ containerId: id });
  }
  expect(mounts(daemon)).toEqual(before);
});
