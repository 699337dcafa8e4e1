import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { CribCommand } from "../harness/crib-command.ts";
import { Daemon } from "../harness/daemon.ts";
import { eventually } from "../harness/eventually.ts";
import { executable, payloadDir } from "../harness/payload.ts";
import { parts } from "../parts/paths.ts";

test("drop-ins win over the file; crib config and crib check read what the daemon reads", async () => {
  const root = mkdtempSync("/var/tmp/crib-test-");
  await using cleanUp = new AsyncDisposableStack();
  cleanUp.defer(() => rmSync(root, { recursive: true, force: true }));
  const file = `${root}/config.toml`;
  mkdirSync(`${file}.d`);
  const dropIn = `${file}.d/10-site.toml`;
  writeFileSync(dropIn, '# of the site\nsandbox_image = "site.example/pause:1"\n');
  const first = `${file}.d/05-first.toml`;
  writeFileSync(first, 'sandbox_image = "first.example/pause:1"\n');
  const daemon = cleanUp.use(await Daemon.start({ root }));
  const command = new CribCommand(daemon);

  const { info } = await daemon.cri.runtime.status({ verbose: true });
  expect(JSON.stringify(info)).toContain("site.example/pause:1");

  const shown = JSON.parse(await command.ok("config", "show", file, "-o", "json"));
  expect(shown.files).toEqual([file, first, dropIn]);
  expect(shown.settings).toContainEqual({
    ...{ key: "sandbox_image", value: "site.example/pause:1", origin: `${dropIn}:2` },
  });
  expect(await command.ok("config", "check", file)).toBe(`${file}, ${first}, ${dropIn}: ok\n`);

  writeFileSync(dropIn, '[images]\nstall_seconds = "soon"\n');
  const broken = `${dropIn}:2: images.stall_seconds: expected a whole number from 1 to 3600`;
  const refused = await command.run(["config", "check", file]);
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining(broken) });
  const check = await command.run(["check", "--config", file, "-o", "json"]);
  expect(check.code).toBe(1);
  expect(JSON.parse(check.stdout)).toContainEqual({
    ...{ area: "configuration", name: "files", level: "missing" },
    detail: expect.stringContaining(broken),
  });
});

test("crib check names what each runtime handler lacks", async () => {
  const root = mkdtempSync("/var/tmp/crib-test-");
  await using cleanUp = new AsyncDisposableStack();
  cleanUp.defer(() => rmSync(root, { recursive: true, force: true }));
  const file = `${root}/config.toml`;
  // A link by another name: only its program's name says that it is gVisor's.
  const gvisor = `${root}/containerd-shim-runsc-v1`;
  symlinkSync(parts.shims.runc, gvisor);
  const shim = (name: string, path: string, more = "") =>
    `[runtime.handlers.${name}]\ntype = "shim"\npath = "${path}"\n${more}\n`;
  writeFileSync(
    file,
    `[runtime.handlers.youki]\npath = "${root}/youki"\n` +
      shim("works", parts.shims.runc) +
      shim("misspelt", parts.shims.runc, 'config = "BinaryNome = 3"') +
      shim("without-runsc", gvisor) +
      shim("not-installed", "io.containerd.nowhere.v2") +
      shim("no-file", parts.shims.runc, `config_path = "${root}/kata.toml"`),
  );
  const run = Bun.spawnSync([executable, "check", "--config", file, "-o", "json"]);
  expect(run.exitCode).toBe(1);
  const findings: { area: string; name: string; level: string; detail: string }[] = JSON.parse(
    run.stdout.toString(),
  );
  const found = Object.fromEntries(
    findings
      .filter(({ area }) => area === "runtime handlers")
      .map(({ name, level, detail }) => [name, `${level}: ${detail}`]),
  );
  expect(found).toEqual({
    runc: "ok: embedded",
    crun: "ok: embedded",
    works: expect.stringMatching(/^ok: .*containerd-shim-runc-v2 2\./),
    youki: expect.stringMatching(/^missing: .*youki: no such program; its pods cannot be created$/),
    misspelt: expect.stringMatching(/^missing: config: BinaryNome: no option of runc's shim/),
    "without-runsc": expect.stringMatching(/^missing: runsc, which gVisor's shim runs, is not in /),
    "not-installed": expect.stringMatching(/^missing: .*no containerd-shim-nowhere-v2 in /),
    "no-file": expect.stringMatching(/^missing: config_path: read .*kata.toml/),
  });
});

test("crib config reload and SIGHUP change what they can, name what they cannot, and survive broken files", async () => {
  const root = mkdtempSync("/var/tmp/crib-test-");
  await using cleanUp = new AsyncDisposableStack();
  cleanUp.defer(() => rmSync(root, { recursive: true, force: true }));
  const dropIn = `${root}/config.toml.d/10-site.toml`;
  mkdirSync(`${root}/config.toml.d`);
  const daemon = cleanUp.use(await Daemon.start({ root }));
  const command = new CribCommand(daemon);
  const handlers = async () => {
    const { runtimeHandlers } = await daemon.cri.runtime.status({});
    return runtimeHandlers.map(({ name }) => name);
  };
  expect(await command.ok("config", "reload")).toBe("nothing has changed\n");
  expect(daemon.log).not.toContain('"level":"debug"');

  writeFileSync(
    dropIn,
    `log.level = "debug"
mirror.peers = ["http://127.0.0.1:9"]
images.stall_seconds = 7
streaming.address = "127.0.0.2:0"
[runtime.handlers.second]
path = "${payloadDir()}/runc"
`,
  );
  const said = await command.ok("config", "reload");
  for (const line of [
    ...["log.level: in force", "mirror.peers: in force", "images.stall_seconds: in force"],
    ...["runtime.handlers.second.path: in force", "streaming.address: needs a restart"],
  ]) {
    expect(said).toContain(`${line}\n`);
  }
  expect(await handlers()).toContain("second");
  await eventually(() => expect(daemon.log).toContain('"level":"debug"'), 60_000);
  const shown = JSON.parse(await command.ok("config", "show", "-o", "json"));
  expect(shown.settings).toContainEqual({
    ...{ key: "images.stall_seconds", value: 7, origin: `${dropIn}:3` },
  });
  expect(shown.settings).toContainEqual({
    ...{ key: "streaming.address", value: "127.0.0.1:0", origin: "default" },
  });

  writeFileSync(dropIn, 'log.level = "debug"\nimages.stall_seconds = 0\n');
  const broken = `${dropIn}:2: images.stall_seconds: expected a whole number from 1 to 3600`;
  const refused = await command.run(["config", "reload"]);
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toContain(broken);
  process.kill(daemon.pid, "SIGHUP");
  await eventually(() => {
    const lines = daemon.log
      .split("\n")
      .filter((line) => line.includes("configuration reload failed"));
    expect(lines.length).toBe(2);
    expect(lines[1]).toContain(broken);
  }, 60_000);
  expect(await handlers()).toContain("second");

  writeFileSync(dropIn, "");
  process.kill(daemon.pid, "SIGHUP");
  await eventually(async () => expect(await handlers()).not.toContain("second"), 60_000);
  expect(await handlers()).toContain("runc");
});
