/** dist/crib as users get it. Build it first: `bun embed/build.ts`. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readlink,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { repository } from "./cache.ts";
import { run } from "./command.ts";
import { parseElf } from "./elf.ts";

const executable = join(repository, "dist/crib");
const inCi = process.env["CI"] === "true";
const canRun = process.getuid?.() === 0 && (await Bun.file(executable).exists());
if (!canRun) console.log("skipped: needs root and dist/crib");

const user = 65534;

describe.skipIf(!canRun && !inCi)("for a user who is not root", () => {
  let root: string;

  async function runAs(uid: number, ...argv: readonly string[]): Promise<string> {
    const script = 'mount -t proc proc "$1/proc" && exec chroot --userspec="$0:$0" "$@"';
    return await run(["unshare", "--mount", "sh", "-c", script, String(uid), root, ...argv]);
  }

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "crib-user-root-"));
    await chmod(root, 0o755);
    for (const [name, mode] of Object.entries({ proc: 0o755, tmp: 0o777, "var/lib": 0o755 })) {
      await mkdir(join(root, name), { recursive: true });
      await chmod(join(root, name), mode);
    }
    await copyFile(executable, join(root, "crib"));
  });
  afterAll(() => rm(root, { recursive: true, force: true }));

  test("help, version, configuration and check work where root never ran it", async () => {
    expect(await runAs(user, "/crib", "--version")).toMatch(/^crib \d/);
    expect(await runAs(user, "/crib", "--help")).toContain("Usage: crib COMMAND");
    expect(await runAs(user, "/crib", "run", "--help")).toContain("crib run [OPTIONS] IMAGE");
    expect(await runAs(user, "/crib", "serve", "--help")).toContain("crib serve");
    expect(await runAs(user, "/crib", "config", "default")).toContain("[network]");
    const checked = await runAs(user, "/crib", "check").catch(String);
    expect(checked).toContain("not root here: the daemon needs CAP_SYS_ADMIN");
    expect((await stat(join(root, `tmp/crib-${user}`))).mode & 0o777).toBe(0o700);
  });

  test("no directory that another user has prepared is used", async () => {
    await rm(join(root, `tmp/crib-${user}`), { recursive: true, force: true });
    await mkdir(join(root, `tmp/crib-${user}/bin`), { recursive: true });
    await chmod(join(root, `tmp/crib-${user}`), 0o777);
    await expect(runAs(user, "/crib", "--version")).rejects.toThrow("run crib as root");
    await rm(join(root, `tmp/crib-${user}`), { recursive: true, force: true });
  });

  test("what root has unpacked is used", async () => {
    await runAs(0, "/crib", "--version");
    expect(await runAs(user, "/crib", "--version")).toMatch(/^crib \d/);
    expect(await readdir(join(root, "tmp"))).toEqual([]);
  });
});

describe.skipIf(!canRun && !inCi)("in an empty root, without any C library", () => {
  let root: string;
  let payload: string;

  /** Runs it there, with /proc: Bun ends at once without. */
  async function runInRoot(...argv: readonly string[]): Promise<string> {
    const script = 'mount -t proc proc "$1/proc" && exec chroot "$@"';
    return await run(["unshare", "--mount", "sh", "-c", script, "sh", root, ...argv]);
  }

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "crib-empty-root-"));
    await mkdir(join(root, "proc"));
    await copyFile(executable, join(root, "crib"));
    await runInRoot("/crib", "version");
    const bin = "/var/lib/crib/bin";
    const [version = ""] = (await readdir(join(root, bin))).filter((name) => !name.startsWith("."));
    payload = join(bin, version);
  });
  afterAll(() => rm(root, { recursive: true, force: true }));

  test("crib version names every part", async () => {
    const version = await runInRoot("/crib", "version");
    for (const part of ["crib", "bun", "runc", "crun", "cni-plugins", "pause", "glibc"]) {
      expect(version).toMatch(new RegExp(`^${part}\\s+\\d`, "m"));
    }
  });

  test("the program has its version definitions where the loader looks for them", async () => {
    const program = Buffer.from(await Bun.file(join(root, payload, "crib")).bytes());
    const { versionDefinitions = 0, section } = parseElf(program);
    expect(program.readBigUInt64LE(versionDefinitions)).toBe(
      section(".gnu.version_d")?.address ?? 0n,
    );
  });

  test("nothing in it names the directory that it was built in: clones make the same bytes", async () => {
    const program = Buffer.from(await Bun.file(join(root, payload, "crib")).bytes());
    expect(program.indexOf(resolve(import.meta.dir, "../node_modules"))).toBe(-1);
  });

  test("says so when /proc is missing", async () => {
    const refused = run(["chroot", root, "/crib", "version"]);
    await expect(refused).rejects.toThrow("crib: /proc is not mounted");
  });

  test("runc and crun run with seccomp", async () => {
    expect(await runInRoot(join(payload, "runc"), "--version")).toContain("libseccomp: ");
    expect(await runInRoot(join(payload, "crun/crun"), "--version")).toContain("+SECCOMP");
  });

  test("every CNI plugin is the one that its name says", async () => {
    const directory = join(root, payload, "cni");
    const names = (await readdir(directory)).filter((name) => name !== "plugins");
    expect(names.length).toBe(9);
    for (const name of names) {
      expect(await readlink(join(directory, name))).toBe("plugins");
      const about = await run(["sh", "-c", '"$0" 2>&1', join(directory, name)]);
      expect(about).toContain(`CNI ${name} plugin v`);
    }
  });

  test("bridge has addresses of the host-local that comes first in CNI_PATH", async () => {
    const own = join(root, payload, "cni");
    const other = join(root, "other");
    const given = join(root, "addresses/net/10.9.0.2");
    const ipam = {
      type: "host-local",
      dataDir: join(root, "addresses"),
      ranges: [[{ subnet: "10.9.0.0/24" }]],
    };
    const conf = { cniVersion: "1.0.0", name: "net", type: "bridge", ipam };
    const giveBack = async (...path: readonly string[]) => {
      const env = ["CNI_COMMAND=DEL", "CNI_CONTAINERID=c", "CNI_IFNAME=eth0"];
      const argv = ["env", ...env, `CNI_PATH=${path.join(":")}`, join(own, "bridge")];
      await using bridge = Bun.spawn(argv, { stdin: Buffer.from(JSON.stringify(conf)) });
      expect(await bridge.stdout.text()).toBe("");
      expect(await bridge.exited).toBe(0);
      return !(await Bun.file(given).exists());
    };
    await Bun.write(given, "c\r\neth0");
    await mkdir(other);
    const script = `#!/bin/sh\necho $CNI_COMMAND >${other}/called`;
    await writeFile(join(other, "host-local"), script, { mode: 0o755 });
    expect(await giveBack(other, own)).toBe(false);
    expect(await Bun.file(join(other, "called")).text()).toBe("DEL\n");
    expect(await giveBack(own, other)).toBe(true);
  });

  test("pause reaps orphans and ends on SIGTERM as the first process of a PID namespace", async () => {
    const argv = ["unshare", "--pid", "--fork", "--kill-child", join(root, payload, "pause")];
    await using unshare = Bun.spawn(argv);
    const children = `/proc/${unshare.pid}/task/${unshare.pid}/children`;
    let pid = "";
    while (pid === "") pid = (await Bun.file(children).text()).trim();
    const orphan = ["nsenter", "--target", pid, "--pid", "--mount", "sh", "-c", "true & exit 0"];
    while ((await Bun.file(`/proc/${pid}/comm`).text()) !== "pause\n") await Bun.sleep(1);
    await run(orphan);
    const zombies = async () => await Bun.file(`/proc/${pid}/task/${pid}/children`).text();
    while ((await zombies()) !== "") await Bun.sleep(1);
    process.kill(Number(pid), "SIGTERM");
    expect(await unshare.exited).toBe(0);
  });
});

describe.skipIf(!canRun && !inCi)("the demo image", () => {
  test("is an OCI layout whose blobs are what their names say", async () => {
    const directory = await mkdtemp(join(tmpdir(), "crib-demo-image-"));
    try {
      await run(["env", `CRIB_DATA=${directory}`, executable, "version"]);
      const [archive = ""] = await Array.fromAsync(
        new Bun.Glob("bin/*/demo.tar").scan({ cwd: directory }),
      );
      await run(["tar", "-xf", join(directory, archive), "-C", directory]);
      const blobs = await readdir(join(directory, "blobs/sha256"));
      expect(blobs.length).toBe(3);
      for (const name of blobs) {
        const content = await Bun.file(join(directory, "blobs/sha256", name)).bytes();
        expect(Bun.CryptoHasher.hash("sha256", content, "hex")).toBe(name);
      }
      const index = await Bun.file(join(directory, "index.json")).json();
      const [manifest] = index.manifests;
      expect(manifest.annotations["org.opencontainers.image.ref.name"]).toBe("crib.local/demo:1");
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});
