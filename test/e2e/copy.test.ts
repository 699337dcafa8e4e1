import { afterAll, beforeAll, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { CribCommand } from "../harness/crib-command.ts";
import { Daemon } from "../harness/daemon.ts";
import { packTar } from "../harness/images/tar.ts";
import { demoImage as image } from "../harness/pod.ts";

let daemon: Daemon;
let crib: CribCommand;
let dir: string;

beforeAll(async () => {
  daemon = await Daemon.start({ demoImage: true });
  crib = new CribCommand(daemon);
  dir = mkdtempSync("/tmp/crib-copy-");
  const volumes = ["--tmpfs", "/scratch:mode=777", "-v", `${dir}:/node:ro`];
  await crib.ok("run", "-d", "--name", "box", ...volumes, image, "sleep", "10000");
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
});

const inside = (script: string) => crib.ok("exec", "box", "sh", "-c", script);

test("a tree there and back is the same: bytes, modes, times, links, hard links, empty and large files", async () => {
  const tree = `${dir}/tree`;
  mkdirSync(`${tree}/sub/deep`, { recursive: true });
  const large = randomBytes(3 << 20);
  writeFileSync(`${tree}/large`, large, { mode: 0o640 });
  writeFileSync(`${tree}/sub/empty`, "");
  writeFileSync(`${tree}/${"long name ü ".repeat(15)}`, "x");
  symlinkSync("../large", `${tree}/sub/link`);
  symlinkSync("/nowhere", `${tree}/dangling`);
  Bun.spawnSync(["ln", `${tree}/large`, `${tree}/sub/hard`]);
  utimesSync(
    `${tree}/sub/empty`,
    new Date("2020-01-02T03:04:05Z"),
    new Date("2020-01-02T03:04:05Z"),
  );
  await crib.ok("cp", tree, "box:/scratch");
  expect(
    await inside("stat -c '%a %u %s' /scratch/tree/large; readlink /scratch/tree/sub/link"),
  ).toBe(`640 0 ${large.byteLength}\n../large\n`);
  // A second time adds to what is there.
  await crib.ok("cp", `${tree}/.`, "box:/scratch/tree");
  await crib.ok("cp", "box:/scratch/tree", `${dir}/back`);
  const list = (root: string) =>
    Bun.spawnSync(["find", root, "-printf", "%P %y %m %s %l\n"]).stdout;
  const sorted = (root: string) => list(root).toString().split("\n").sort();
  expect(sorted(`${dir}/back`)).toEqual(sorted(tree));
  expect(readFileSync(`${dir}/back/large`).equals(large)).toBe(true);
  expect(lstatSync(`${dir}/back/sub/empty`).mtime).toEqual(new Date("2020-01-02T03:04:05Z"));
  expect(lstatSync(`${dir}/back/large`).nlink).toBe(2);
});

test("docker's rules of names, slashes and links hold", async () => {
  await inside("mkdir -p /tmp/d/e; echo f >/tmp/d/f; ln -s f /tmp/d/l; ln -s d /tmp/to-d");
  const out = `${dir}/out`;
  mkdirSync(out);
  await crib.ok("cp", "box:/tmp/d/f", `${out}/renamed`);
  await crib.ok("cp", "box:/tmp/d/l", out);
  await crib.ok("cp", "-L", "box:/tmp/d/l", `${out}/followed`);
  await crib.ok("cp", "box:/tmp/to-d", `${out}/as-link`);
  await crib.ok("cp", "box:/tmp/to-d/", `${out}/as-directory`);
  await crib.ok("cp", "box:tmp/d/.", out);
  expect(readdirSync(out).sort()).toEqual([
    ...["as-directory", "as-link", "e", "f", "followed", "l", "renamed"],
  ]);
  expect(readlinkSync(`${out}/l`)).toBe("f");
  expect(readlinkSync(`${out}/as-link`)).toBe("d");
  expect(readFileSync(`${out}/followed`, "utf8")).toBe("f\n");
  expect(readdirSync(`${out}/as-directory`).sort()).toEqual(["e", "f", "l"]);
  writeFileSync(`${dir}/a:b`, "colon");
  await crib.ok("cp", `${dir}/a:b`, "box:/tmp/to-d/colon");
  expect(await inside("cat /tmp/d/colon")).toBe("colon");
  // What the container has mounted is seen, and what it may not write stays.
  await crib.ok("cp", "box:/node/a:b", `${out}/mounted`);
  expect((await crib.run(["cp", `${out}/mounted`, "box:/node/x"])).stderr).toMatch(
    /EROFS|read-only/i,
  );
  for (const [argv, message] of [
    [["box:/none", out], "nothing is there"],
    [["box:/tmp/d/f/", out], "not a directory"],
    [["box:/tmp/d", `${out}/renamed`], "a directory cannot replace a file"],
    [["box:/tmp/d/f", `${out}/none/`], "no such directory"],
    [["box:/tmp/d/f", `${out}/none/x`], "no directory"],
    [[`${out}/renamed`, "box:/tmp/none/x"], "no directory /tmp/none"],
    [[`${out}/renamed`, "none:/tmp"], 'no container "none"'],
    [[out, out], "exactly one side"],
    [["box:/tmp", "box:/x"], "exactly one side"],
  ] as const) {
    const { code, stderr } = await crib.run(["cp", ...argv]);
    expect(stderr).toContain(message);
    expect(code).not.toBe(0);
  }
});

test("tar streams: out of the container, into it, and none that leads out", async () => {
  await inside("mkdir -p /tmp/s/x; echo one >/tmp/s/x/one");
  const packed = crib.start(["cp", "box:/tmp/s", "-"]);
  const bytes = await packed.stdout.bytes();
  expect(await packed.exited).toBe(0);
  const listed = Bun.spawnSync(["tar", "t"], { stdin: bytes }).stdout.toString();
  expect(listed).toBe("s/\ns/x/\ns/x/one\n");
  await inside("mkdir /tmp/in");
  expect(await crib.run(["cp", "-", "box:/tmp/in"], new Blob([bytes]))).toMatchObject({ code: 0 });
  expect(await inside("cat /tmp/in/s/x/one")).toBe("one\n");
  const owned = packTar([{ type: "file", path: "mine", data: "x", uid: 12, gid: 34 }]);
  await crib.run(["cp", "-a", "-", "box:/tmp/in"], new Blob([owned]));
  expect(await inside("stat -c '%u %g' /tmp/in/mine")).toBe("12 34\n");
  const climbing = packTar([{ type: "file", path: "../../../etc/crib-was-here", data: "x" }]);
  const refused = await crib.run(["cp", "-", "box:/tmp/in"], new Blob([climbing]));
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('".."')]);
  expect(await inside("ls /etc/crib-was-here 2>/dev/null || echo none")).toBe("none\n");
  const garbage = await crib.run(["cp", "-", "box:/tmp/in"], new Blob([randomBytes(4096)]));
  expect(garbage.code).toBe(1);
});

test("links of a container lead to its own files, in each direction and whatever they say (CVE-2018-15664)", async () => {
  const secret = `${dir}/secret`;
  writeFileSync(secret, "of the node");
  const victim = `${dir}/victim`;
  mkdirSync(victim);
  const script = [
    "mkdir -p /tmp/h; cd /tmp/h",
    `ln -s ${secret} absolute; ln -s ../../../../../../../..${secret} climbing`,
    `ln -s ${victim} directory; ln -s /proc/1/root/tmp magic; mkfifo pipe; ln -s loop loop`,
  ].join("; ");
  await inside(script);
  // Out: a link that is followed ends inside of the container.
  for (const name of ["absolute", "climbing"]) {
    const { code, stderr } = await crib.run(["cp", "-L", `box:/tmp/h/${name}`, `${dir}/stolen`]);
    expect([code, stderr]).toEqual([3, expect.stringContaining("nothing is there")]);
  }
  expect(existsSync(`${dir}/stolen`)).toBe(false);
  // In: neither through a link of a directory nor through one at the end.
  writeFileSync(`${dir}/payload`, "payload");
  expect((await crib.run(["cp", `${dir}/payload`, "box:/tmp/h/directory/x"])).code).not.toBe(0);
  await crib.run(["cp", `${dir}/payload`, "box:/tmp/h/absolute"]);
  expect(readdirSync(victim)).toEqual([]);
  expect(readFileSync(secret, "utf8")).toBe("of the node");
  // A pipe is not waited for, and a circle of links is an end.
  const all = await crib.run(["cp", "box:/tmp/h", `${dir}/all`]);
  expect([all.code, all.stderr]).toEqual([0, 'crib: left out "all/pipe": fifo\n']);
  expect((await crib.run(["cp", "-L", "box:/tmp/h/loop", `${dir}/loop`])).code).not.toBe(0);
  // Links of the node below the destination are not the container's to follow either.
  const target = `${dir}/target`;
  mkdirSync(target);
  symlinkSync(victim, `${target}/h`);
  const through = await crib.run(["cp", "box:/tmp/h", target]);
  expect(through.code).not.toBe(0);
  expect(readdirSync(victim)).toEqual([]);
});

test("a container that swaps a directory for a link all the while gets nothing of the node", async () => {
  const victim = `${dir}/raced`;
  mkdirSync(victim);
  writeFileSync(`${victim}/secret`, "of the node");
  await inside(
    [
      "mkdir -p /tmp/r; cd /tmp/r; mkdir real; echo inside >real/secret",
      `(while [ ! -e stop ]; do rm -rf real; ln -s ${victim} real; rm real; mkdir real; echo inside >real/secret; done) >/dev/null 2>&1 </dev/null &`,
    ].join("; "),
  );
  const seen = new Set<string>();
  for (let i = 0; i < 8; i++) {
    const to = `${dir}/race-${i}`;
    await crib.run(["cp", "box:/tmp/r/real/.", to]);
    if (existsSync(`${to}/secret`)) seen.add(readFileSync(`${to}/secret`, "utf8"));
    await crib.run(["cp", `${dir}/payload`, "box:/tmp/r/real/planted"]);
  }
  await inside("touch /tmp/r/stop");
  expect(readdirSync(victim)).toEqual(["secret"]);
  expect(seen.has("of the node")).toBe(false);
});

test("a container that has ended has no files to show", async () => {
  await crib.ok("run", "--name", "over", image, "true");
  const { code, stderr } = await crib.run(["cp", "over:/etc/passwd", dir]);
  expect([code, stderr]).toEqual([1, expect.stringContaining("does not run")]);
  await crib.ok("rm", "over");
});
