/**
 * bun test/parts/setup.ts
 *
 * Makes everything that tests need and the repository does not hold: Debian packages, crictl and critest,
 * a docker-registry and the images in it. What is there and up to date is left alone.
 */

import { mkdir, readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { NamedImage } from "../harness/images/catalogue.ts";
import { critestImages } from "../harness/images/critest-images.ts";
import {
  makeDebianBase,
  makeDebianTools,
  pushDebianImages,
} from "../harness/images/debian-images.ts";
import { edgeImages } from "../harness/images/edge-images.ts";
import { pushImage } from "../harness/images/oci-image.ts";
import { makeRealImages, realImages, treeFile } from "../harness/images/real-images.ts";
import { type RegistryServer, startRegistry } from "../harness/registry-server.ts";
import { makeCriu } from "./criu.ts";
import {
  debianSuite,
  installPackages,
  installProgram,
  missingPackages,
  unpackPackages,
} from "./debian.ts";
import { parts, partsDir, repositoryDir } from "./paths.ts";
import { makePeers } from "./peers.ts";
import { run } from "./run.ts";
import { runStep } from "./steps.ts";

const sourceDir = import.meta.dir;
const imagesDir = join(repositoryDir, "test/harness/images");
const debianLayout = join(partsDir, "debian");

async function setUp(): Promise<void> {
  await mkdir(partsDir, { recursive: true });
  const missing = missingPackages();
  if (missing.length === 0) console.log("parts: Debian packages: ready");
  else {
    console.log(`parts: Debian packages: installing ${missing.join(", ")}`);
    await installPackages(missing);
  }
  const suite = await debianSuite();
  // Compiling keeps the processor busy, the images wait for dpkg and the disk: side by side they take less time.
  await Promise.all([buildGoPrograms(), makeImages(suite).then(getCriu)]);
}

/** One after the other: the compiler keeps all processors busy, and the largest comes last. */
async function buildGoPrograms(): Promise<void> {
  // critest of each release: those of crib's own one are pinned here, the newest in a folder of its own.
  const critest = parts.critest["1.36.0"];
  await buildCriTools("crictl, critest, ginkgo", sourceDir, critest, parts.crictl);
  const newest = parts.critest["1.37.0"];
  await buildCriTools("newest critest, ginkgo", join(sourceDir, "newest"), newest);
  await buildOwnProgram("NRI plugin", "nri", parts.nriPlugin);
  await buildOwnProgram("signer of images", "signing", parts.signing);
  await buildOwnProgram("a shim of our own", "shims/fake", parts.shims.fake);
  await buildTool("runc's shim", "shims/runc", {
    [parts.shims.runc]: "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
  });
  // Four minutes, for tests of their own.
  if (process.env["CRIB_TEST_GVISOR"] === "1") await buildGvisor();
  if (process.env["CRIB_TEST_PEERS"] === "1") await fetchPeers();
  await buildKubelet("kubelet", "kubelet", parts.kubelet, {});
  // As long again, and with a Go of its own.
  if (process.env["CRIB_TEST_KUBELET_NEXT"] === "1") {
    const toolchain = { GOTOOLCHAIN: "go1.27.3" };
    await buildKubelet("next kubelet", "kubelet-next", parts.kubeletNext, toolchain);
  }
  // By the versions of the kubelet, whose packages are compiled.
  await buildOwnProgram("a receiver of traces", "otlp", parts.otlpReceiver);
}

async function buildCriTools(
  name: string,
  moduleDir: string,
  { critest, ginkgo }: { readonly critest: string; readonly ginkgo: string },
  crictl?: string,
): Promise<void> {
  const goMod = await Bun.file(join(moduleDir, "go.mod")).text();
  const goSum = await Bun.file(join(moduleDir, "go.sum")).text();
  const version = /sigs\.k8s\.io\/cri-tools v(\S+)/u.exec(goMod)?.[1];
  if (version === undefined) throw new Error(`${moduleDir}/go.mod does not name cri-tools`);
  const flags = [
    "-trimpath",
    `-ldflags=-s -w -X sigs.k8s.io/cri-tools/pkg/version.Version=${version}`,
  ];
  await runStep({
    name,
    doing: `building v${version} from Go modules (about two minutes)`,
    inputs: [goMod, goSum, ...flags],
    outputs: [critest, ginkgo, ...(crictl === undefined ? [] : [crictl])],
    make: async () => {
      if (Bun.which("go") === null) throw new Error("go is not in PATH");
      const go = (...argv: readonly string[]): Promise<string> =>
        run(["nice", "-n", "10", "go", ...argv], { cwd: moduleDir, env: { CGO_ENABLED: "0" } });
      const bin = dirname(critest);
      await mkdir(bin, { recursive: true });
      const programs = crictl === undefined ? [] : ["sigs.k8s.io/cri-tools/cmd/crictl"];
      await go("build", ...flags, "-o", `${bin}/`, ...programs, "github.com/onsi/ginkgo/v2/ginkgo");
      await go("test", "-c", ...flags, "-o", critest, "sigs.k8s.io/cri-tools/cmd/critest");
    },
  });
}

async function buildOwnProgram(name: string, source: string, output: string): Promise<void> {
  const dir = join(sourceDir, source);
  await runStep({
    name,
    doing: "building it from Go modules",
    inputs: [await textOf(dir)],
    outputs: [output],
    make: async () => {
      const argv = ["nice", "-n", "10", "go", "build", "-trimpath", "-ldflags=-s -w"];
      await run([...argv, "-o", output, "."], { cwd: dir, env: { CGO_ENABLED: "0" } });
    },
  });
}

async function buildGvisor(): Promise<void> {
  await buildTool("gVisor and its shim", "shims/gvisor", {
    [parts.shims.runsc]: "gvisor.dev/gvisor/runsc",
    [parts.shims.gvisor]: "gvisor.dev/gvisor/shim",
  });
}

/** Programs of others, each by its package, at the versions of a go.mod. */
async function buildTool(
  name: string,
  moduleDir: string,
  programs: Readonly<Record<string, string>>,
): Promise<void> {
  const dir = join(sourceDir, moduleDir);
  await runStep({
    name,
    doing: "building it from Go modules",
    inputs: [await textOf(dir), JSON.stringify(Object.values(programs))],
    outputs: Object.keys(programs),
    make: async () => {
      for (const [output, program] of Object.entries(programs)) {
        const argv = ["nice", "-n", "10", "go", "build", "-trimpath", "-ldflags=-s -w"];
        await run([...argv, "-o", output, program], { cwd: dir, env: { CGO_ENABLED: "0" } });
      }
    },
  });
}

/** Kubernetes' modules name each other by folders of their repository: go.mod puts their releases there. */
async function buildKubelet(
  name: string,
  source: string,
  output: string,
  toolchain: Readonly<Record<string, string>>,
): Promise<void> {
  const dir = join(sourceDir, source);
  const goMod = await Bun.file(join(dir, "go.mod")).text();
  const version = /k8s\.io\/kubernetes (v\S+)/u.exec(goMod)?.[1];
  if (version === undefined) throw new Error(`${dir}/go.mod does not name kubernetes`);
  const flags = [
    "-trimpath",
    `-ldflags=-s -w -X k8s.io/component-base/version.gitVersion=${version}`,
  ];
  await runStep({
    name,
    doing: `building ${version} from Go modules (about eight minutes)`,
    inputs: [await textOf(dir, ["iptables"]), ...flags],
    outputs: [output],
    make: async () => {
      await mkdir(dirname(output), { recursive: true });
      const argv = ["nice", "-n", "10", "go", "build", ...flags, "-o", output];
      const env = { CGO_ENABLED: "0", ...toolchain };
      await run([...argv, "k8s.io/kubernetes/cmd/kubelet"], { cwd: dir, env });
    },
  });
}

/** From a suite in which a package may be broken for a day: the test of checkpoints can do without. */
async function getCriu(): Promise<void> {
  try {
    await runStep({
      name: "CRIU",
      doing: "taking the newest out of Debian's packages",
      inputs: [
        await Bun.file(join(sourceDir, "criu.ts")).text(),
        await Bun.file(join(sourceDir, "unstable.ts")).text(),
      ],
      outputs: [parts.criu],
      make: () => makeCriu(parts.criu),
    });
  } catch (err) {
    await rm(dirname(parts.criu), { recursive: true, force: true });
    console.log(`parts: there is no CRIU: ${describe(err)}`);
  }
}

async function makeImages(suite: string): Promise<void> {
  await runStep({
    name: "docker-registry, busybox",
    doing: "taking them out of Debian's packages",
    inputs: [suite],
    outputs: [parts.dockerRegistry, parts.busybox],
    make: () =>
      unpackPackages(["docker-registry", "busybox-static"], async (root) => {
        await installProgram(join(root, "usr/bin/docker-registry"), parts.dockerRegistry);
        await installProgram(join(root, "bin/busybox"), parts.busybox);
      }),
  });
  const { server, promtool } = parts.prometheus;
  await runStep({
    name: "Prometheus",
    doing: "taking it out of Debian's package",
    inputs: [suite],
    outputs: [server, promtool],
    make: () =>
      unpackPackages(["prometheus"], async (root) => {
        await installProgram(join(root, "usr/bin/prometheus"), server);
        await installProgram(join(root, "usr/bin/promtool"), promtool);
      }),
  });
  await compilePrograms();

  const imageSources = await textOf(imagesDir, [
    "debian-images.ts",
    "real-images.ts",
    "real-files.ts",
  ]);
  const programs = await Promise.all(
    [parts.busybox, parts.shellShim, parts.nonewprivs, parts.pause, parts.getxattr].map(digestOf),
  );
  // In the data directory itself: who deletes it deletes what says that it is filled.
  const pushed = (name: string): string => join(parts.registryData, `${name}.pushed`);
  for (const [name, images] of [
    ["critest", critestImages],
    ["edge", edgeImages],
  ] as const) {
    await runStep({
      name: `${name} images`,
      doing: "pushing them to the test registry",
      inputs: [imageSources, ...programs],
      outputs: [pushed(name)],
      make: async () => {
        await pushAll(await images());
        await Bun.write(pushed(name), "");
      },
    });
  }

  const debianSource = await Bun.file(join(imagesDir, "debian-images.ts")).text();
  await runStep({
    name: "Debian images",
    doing: `making ${suite} with debootstrap and umoci (about a minute)`,
    inputs: [suite, debianSource],
    outputs: [join(debianLayout, "index.json"), pushed("debian")],
    make: async () => {
      await makeDebianBase(debianLayout, suite);
      await makeDebianTools(debianLayout);
      await using registry = await startTestRegistry();
      await pushDebianImages(debianLayout, registry.host);
      await Bun.write(pushed("debian"), "");
    },
  });

  const realSources = ["real-images.ts", "real-files.ts", "oci-image.ts", "../file-tree.ts"];
  await runStep({
    name: "real images",
    doing:
      "making programs, a gigabyte, 100 layers and 60,000 files, and unpacking them with umoci (two minutes)",
    inputs: [
      // The base that they stand upon.
      await Bun.file(join(debianLayout, "index.json")).text(),
      ...(await Promise.all(realSources.map((name) => Bun.file(join(imagesDir, name)).text()))),
    ],
    outputs: [
      pushed("real"),
      ...realImages.flat().map(({ sameAs }) => treeFile(parts.trees, sameAs)),
    ],
    make: async () => {
      await using registry = await startTestRegistry();
      await makeRealImages(debianLayout, registry.url, parts.trees);
      await Bun.write(pushed("real"), "");
    },
  });
}

async function fetchPeers(): Promise<void> {
  const { dir, containerd, ctr, crun } = parts.peers;
  await runStep({
    name: "containerd and crun of Debian unstable",
    doing: "fetching Debian's packages",
    inputs: [
      await Bun.file(join(sourceDir, "peers.ts")).text(),
      await Bun.file(join(sourceDir, "unstable.ts")).text(),
    ],
    outputs: [containerd, ctr, crun],
    make: () => makePeers(dir),
  });
}

async function compilePrograms(): Promise<void> {
  const dir = join(sourceDir, "c");
  const programs = {
    "sh-shim.c": parts.shellShim,
    "nonewprivs.c": parts.nonewprivs,
    "pause.c": parts.pause,
    "getxattr.c": parts.getxattr,
    "facts.c": parts.facts,
    "watch.c": parts.watch,
  };
  await runStep({
    name: "small C programs",
    doing: "compiling",
    inputs: [await textOf(dir)],
    outputs: Object.values(programs),
    make: async () => {
      for (const [source, program] of Object.entries(programs)) {
        const flags = ["-static", "-Os", "-s", "-Wall", "-Wextra", "-Werror"];
        await run(["gcc", ...flags, "-o", program, join(dir, source)]);
      }
    },
  });
}

/** The one whose images all tests read, open to be filled. */
async function startTestRegistry(): Promise<RegistryServer> {
  return await startRegistry({ dataDir: parts.registryData, writable: true });
}

async function pushAll(images: readonly NamedImage[]): Promise<void> {
  await using registry = await startTestRegistry();
  for (const { names, image } of images) {
    for (const name of names) {
      const [repository = "", tag = ""] = name.split(":");
      await pushImage(registry.url, repository, tag, image);
    }
  }
}

async function textOf(dir: string, except: readonly string[] = []): Promise<string> {
  const files = (await readdir(dir)).filter((file) => !except.includes(file)).sort();
  const texts = await Promise.all(files.map((file) => Bun.file(join(dir, file)).text()));
  return texts.join("\0");
}

async function digestOf(file: string): Promise<string> {
  return new Bun.CryptoHasher("sha256").update(await Bun.file(file).bytes()).digest("hex");
}

function describe(err: unknown): string {
  if (!(err instanceof Error)) return String(err);
  return err.cause === undefined ? err.message : `${err.message}: ${describe(err.cause)}`;
}

/** Two runs at once, of two test commands say, would write over each other: the second waits for the first. */
async function setUpAlone(): Promise<number> {
  await mkdir(partsDir, { recursive: true });
  const lock = join(partsDir, "lock");
  const argv = ["flock", lock, process.execPath, import.meta.path, "--locked"];
  return await Bun.spawn(argv, { stdio: ["ignore", "inherit", "inherit"] }).exited;
}

if (process.argv.includes("--locked")) {
  try {
    await setUp();
  } catch (err) {
    console.error(`parts: ${describe(err)}`);
    process.exit(1);
  }
} else process.exitCode = await setUpAlone();
