import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { CribCommand } from "../harness/crib-command.ts";
import { Daemon } from "../harness/daemon.ts";

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
