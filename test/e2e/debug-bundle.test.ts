import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { extract } from "tar-stream";
import { CribCommand } from "../harness/crib-command.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { failure } from "../harness/failure.ts";
import { demoImage, runPod, startScript } from "../harness/pod.ts";

/** Each has a number, so that a failure says where it was planted. */
const secret = (where: number) => `hunter-${where}-z9y8x7`;

async function filesIn(bundle: Uint8Array): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  const archive = extract();
  archive.end(gunzipSync(bundle));
  for await (const entry of archive) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of entry) chunks.push(chunk as Uint8Array);
    files.set(entry.header.name.replace(/^[^/]+\//, ""), Buffer.concat(chunks).toString());
  }
  return files;
}

test("crib debug bundle has what is needed to find a fault, and no secret from anywhere", async () => {
  await using cleanUp = new AsyncDisposableStack();
  const root = mkdtempSync("/var/tmp/crib-test-");
  cleanUp.defer(() => rmSync(root, { recursive: true, force: true }));
  mkdirSync(`${root}/config.toml.d`);
  mkdirSync(`${root}/certs.d/reg.invalid`, { recursive: true });
  const write = (name: string, text: string) => writeFileSync(`${root}/${name}`, text);
  write(
    "config.toml.d/secrets.toml",
    `[proxy]\nhttp = "http://me:${secret(1)}@127.0.0.1:1"\n[traces]\nendpoint = "http://me:${secret(2)}@127.0.0.1:1"\n[images]\ndocker_config_files = ["${root}/docker.json"]\nregistries_files = ["${root}/registries.yaml"]\n`,
  );
  write(
    "docker.json",
    JSON.stringify({ auths: { "reg.invalid": { auth: btoa(`me:${secret(3)}`) } } }),
  );
  write("registries.yaml", `configs:\n  reg.invalid:\n    auth:\n      password: ${secret(4)}\n`);
  write(
    "certs.d/reg.invalid/hosts.toml",
    `[host."http://127.0.0.1:1"]\n[host."http://127.0.0.1:1".header]\nauthorization = "Bearer ${secret(5)}"\n`,
  );
  const daemon = cleanUp.use(
    await Daemon.start({
      root,
      env: {
        OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer ${secret(6)}`,
        REGISTRY_PASSWORD: secret(7),
      },
    }),
  );
  await daemon.cri.image.pullImage({ image: { image: demoImage } });
  const auth = { username: "me", password: secret(8), registryToken: secret(9) };
  const pulling = daemon.cri.image.pullImage({ image: { image: "reg.invalid/app:1" }, auth });
  expect((await failure(pulling)).message).toContain("RegistryUnavailable");
  const pod = await runPod(daemon.cri, root, {
    annotations: { "example.com/token": secret(10) },
    labels: { key: secret(11) },
  });
  const containerId = await startScript(daemon.cri, pod, `: ${secret(12)}; sleep 100000`, {
    envs: [
      { $typeName: "runtime.v1.KeyValue", key: "DB_PASSWORD", value: Buffer.from(secret(13)) },
    ],
    annotations: { "example.com/key": secret(14) },
    labels: { key: secret(15) },
  });
  const leaving = new AbortController();
  const exec = daemon.cri.runtime
    .execSync(
      { containerId, cmd: ["/bin/sh", "-c", `: ${secret(16)}; sleep 100000`] },
      { signal: leaving.signal },
    )
    .catch(() => {});
  const command = new CribCommand(daemon);
  await eventually(async () => expect(await command.ok("debug")).toContain("ExecSync "));

  const file = `${root}/bundle.tar.gz`;
  writeFileSync(file, "an older one", { mode: 0o644 });
  expect(await command.ok("debug", "bundle", file, "--log", daemon.logFile)).toBe(`${file}\n`);
  leaving.abort();
  await exec;
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const files = await filesIn(readFileSync(file));
  for (const [name, text] of files) {
    expect([name, text.match(/hunter-\d+|z9y8x7/g)]).toEqual([name, null]);
    expect([name, text.includes(btoa(`me:${secret(3)}`))]).toEqual([name, false]);
    expect([name, text.startsWith("not read: ")]).toEqual([name, false]);
    if (name !== "README") expect(files.get("README")).toContain(`${name}: `);
  }
  const parse = (name: string) => JSON.parse(files.get(name) ?? "");
  expect(parse("pods.json")).toMatchObject([{ id: pod.id, state: "SANDBOX_READY" }]);
  expect(parse("containers.json")).toMatchObject([{ id: containerId, image: demoImage }]);
  expect(parse("images.json")).toMatchObject([{ repoTags: [demoImage] }]);
  expect(parse("activity.json").calls[0]).toMatchObject({ rpc: "ExecSync" });
  expect(parse("version.json")).toHaveProperty("parts.runc");
  expect(files.get("config.json")).toContain("http://***@127.0.0.1:1");
  expect(parse("check.json").length).toBeGreaterThan(20);
  expect(files.get("log.txt")).toContain(pod.id);
  expect(files.get("mounts.txt")).toContain(`${daemon.state}/`);
  expect(files.get("processes.txt")).toMatch(new RegExp(`^${daemon.pid} serve: State: `, "m"));
  expect(files.get("processes.txt")).toMatch(/^\d+ monitor: /m);
  expect(files.get("node.txt")).toMatch(/^kernel: \d/m);

  // Without a daemon, and to stdout.
  await daemon.end("SIGTERM");
  const child = command.start(["debug", "bundle", "-"]);
  const without = await filesIn(await new Response(child.stdout).bytes());
  expect(await child.exited).toBe(0);
  expect(without.get("pods.json")).toStartWith("not read: ");
  expect(without.get("node.txt")).toMatch(/^kernel: \d/m);
});
