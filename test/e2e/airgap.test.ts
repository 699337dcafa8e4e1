import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { hasOwnNetwork, inOwnNetwork } from "../harness/own-network.ts";
import { executable, payloadDir } from "../harness/payload.ts";
import { demoImage, readLog, runPod, startScript } from "../harness/pod.ts";
import { type TempDir, tempDir } from "../harness/temp-dir.ts";
import { unfinished } from "../harness/unfinished.ts";

// No registry can be reached from here: there is a loopback interface and no route.
if (!hasOwnNetwork) inOwnNetwork(import.meta.path);

async function crib(daemon: Daemon, argv: readonly string[], stdin?: Uint8Array) {
  const child = Bun.spawn([executable, ...argv], {
    env: { ...daemon.env, CRIB_SOCKET: `unix://${daemon.socket}` },
    stdio: [stdin === undefined ? "ignore" : new Blob([stdin]), "pipe", "pipe"],
  });
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).bytes(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { stdout: Buffer.from(stdout), stderr, code };
}

async function cribOk(daemon: Daemon, ...argv: readonly string[]): Promise<string> {
  const { stdout, stderr, code } = await crib(daemon, argv);
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  return stdout.toString();
}

async function imageOf(daemon: Daemon, image: string) {
  return (await daemon.cri.image.imageStatus({ image: { image } })).image;
}

/** Runs one container of the image to its first line. */
async function runsOn(daemon: Daemon, logs: TempDir, image: string): Promise<void> {
  const pod = await runPod(daemon.cri, logs.path);
  await startScript(daemon.cri, pod, "echo here; sleep 1000", {
    image: { image },
    logPath: "x.log",
  });
  await eventually(() => expect(readLog(join(pod.config.logDirectory, "x.log"))).toBe("here\n"));
}

/** The id, and the names by digest: what has to be the same wherever an image goes. */
async function identity(daemon: Daemon, image: string) {
  const found = await imageOf(daemon, image);
  return found && { id: found.id, tags: found.repoTags, digests: found.repoDigests };
}

test.skipIf(!hasOwnNetwork)(
  "images go from node to node as archives, and stay what they are",
  async () => {
    using dir = tempDir("/var/tmp");
    await using daemon = await Daemon.start({ demoImage: true });
    const before = await identity(daemon, demoImage);
    for (const [verb, name, ...options] of [
      ["export", "a.tar"],
      ["export", "a.tar.zst"],
      ["export", "a.tar.gz", "--compress-layers"],
      ["save", "a.docker.tar"],
    ] as const) {
      const file = join(dir.path, name);
      await cribOk(daemon, "image", verb, demoImage, "-o", file, ...options);
      await cribOk(daemon, "rmi", demoImage);
      expect(await imageOf(daemon, demoImage)).toBeUndefined();
      expect(await cribOk(daemon, "image", "import", file)).toStartWith(`${demoImage} `);
      const after = await identity(daemon, demoImage);
      expect(after).toEqual(verb === "save" && before ? { ...before, digests: [] } : before);
    }
    expect(readdirSync(dir.path).filter((name) => name.endsWith(".part"))).toEqual([]);

    const piped = await crib(daemon, ["image", "export", demoImage, "-o", "-"]);
    expect(piped.code).toBe(0);
    await cribOk(daemon, "rmi", demoImage);
    const imported = await crib(daemon, ["image", "import", "-"], piped.stdout);
    expect(imported.stdout.toString()).toStartWith(`${demoImage} `);
    await runsOn(daemon, dir, demoImage);
  },
);

test.skipIf(!hasOwnNetwork)(
  "what is no archive is one clear line, and nothing of it stays",
  async () => {
    using dir = tempDir("/var/tmp");
    await using daemon = await Daemon.start();
    const file = join(dir.path, "a.tar");
    writeFileSync(file, "this is no archive");
    const bad = await crib(daemon, ["image", "import", file]);
    expect(bad.stderr).toMatch(/^crib: import .*a\.tar: .*not a tar archive.*\n$/);
    expect(bad.code).toBe(1);
    expect((await crib(daemon, ["image", "import", `${file}x`])).code).toBe(3);
    expect((await crib(daemon, ["image", "export", "no/such:1", "-o", file])).code).toBe(3);
    expect((await crib(daemon, ["image", "export", demoImage])).code).toBe(2);
    expect(unfinished(join(daemon.root, "snapshots"))).toEqual([]);
  },
);

test.skipIf(!hasOwnNetwork)(
  "<root>/images is watched: what is copied there is imported, what is taken away is unpinned",
  async () => {
    await using daemon = await Daemon.start();
    const images = join(daemon.root, "images");
    const demo = `${payloadDir()}/demo.tar`;
    const compressed = zstdCompressSync(await Bun.file(demo).bytes());
    await eventually(() => statSync(images));
    writeFileSync(join(images, ".copy"), compressed);
    renameSync(join(images, ".copy"), join(images, "demo.tar.zst"));
    await eventually(async () => expect((await imageOf(daemon, demoImage))?.pinned).toBe(true));
    const { id = "" } = (await imageOf(daemon, demoImage)) ?? {};

    rmSync(join(images, "demo.tar.zst"));
    await eventually(async () => expect((await imageOf(daemon, id))?.pinned).toBe(false));

    const layout = join(images, "layout");
    mkdirSync(layout);
    expect(Bun.spawnSync(["tar", "-xf", demo, "-C", layout]).exitCode).toBe(0);
    await eventually(async () => expect((await imageOf(daemon, id))?.pinned).toBe(true));

    await daemon.end("SIGTERM");
    await daemon.start();
    expect((await imageOf(daemon, id))?.pinned).toBe(true);
  },
);

test.skipIf(!hasOwnNetwork)(
  "crib pack: an executable that serves its images to pulls, on an empty node",
  async () => {
    using dir = tempDir("/var/tmp");
    const site = join(dir.path, "crib-site");
    let before: Awaited<ReturnType<typeof identity>>;
    {
      await using builder = await Daemon.start({ demoImage: true });
      await cribOk(builder, "pack", "--image", demoImage, "-o", site);
      before = await identity(builder, demoImage);
    }
    const data = join(dir.path, "data");
    const startedAt = performance.now();
    await using daemon = await Daemon.start({ executable: site, env: { CRIB_DATA: data } });
    expect(await imageOf(daemon, demoImage)).toBeUndefined();
    await daemon.cri.image.pullImage({ image: { image: demoImage } });
    expect(await identity(daemon, demoImage)).toEqual(before);
    await runsOn(daemon, dir, demoImage);
    console.log(`first container after ${Math.round(performance.now() - startedAt)} ms`);

    // By digest too, as kubelets ask for what a manifest pins.
    const [byDigest = ""] = before?.digests ?? [];
    await daemon.cri.image.pullImage({ image: { image: byDigest } });
    const elsewhere = daemon.cri.image.pullImage({ image: { image: "registry.example/none:1" } });
    expect(
      await elsewhere.then(
        () => "pulled",
        (err) => String(err),
      ),
    ).toContain("RegistryUnavailable");

    const again = join(dir.path, "packed-again");
    await cribOkFrom(site, daemon, "pack", "--image", demoImage, "-o", again);
    expect(statSync(again).size).toBe(statSync(site).size);
  },
);

test.skipIf(!hasOwnNetwork)(
  "crib mirror: a node pulls from the store of another one, without any registry",
  async () => {
    using dir = tempDir("/var/tmp");
    const peer = '[mirror]\npeers = ["http://127.0.0.1:5005", "http://127.0.0.1:1"]\n';
    await using seed = await Daemon.start({
      demoImage: true,
      config: '[mirror]\nlisten = "127.0.0.1:5005"\n',
    });
    await using daemon = await Daemon.start({ config: peer });
    await cribOk(daemon, "pull", demoImage);
    expect(await identity(daemon, demoImage)).toEqual(await identity(seed, demoImage));
    await runsOn(daemon, dir, demoImage);
    expect(await cribOk(daemon, "images", "--tree")).toMatch(
      /^crib\.local\/demo:1 {2}[0-9a-f]{13} .*\n└─ [0-9a-f]{13} .* files\n$/,
    );
    expect(await cribOk(daemon, "df")).toMatch(/^images +1 /m);
    const shown = JSON.parse(await cribOk(daemon, "image", "inspect", demoImage));
    expect(shown).toMatchObject({ repoTags: [demoImage], pinned: false, config: { os: "linux" } });
    expect(shown.manifests.length).toBeGreaterThan(0);
  },
);

async function cribOkFrom(file: string, daemon: Daemon, ...argv: readonly string[]): Promise<void> {
  const child = Bun.spawn([file, ...argv], {
    env: { ...daemon.env, CRIB_SOCKET: `unix://${daemon.socket}` },
    stdio: ["ignore", "ignore", "pipe"],
  });
  expect(await new Response(child.stderr).text()).toBe("");
  expect(await child.exited).toBe(0);
}
