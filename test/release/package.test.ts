import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { executable } from "../harness/payload.ts";
import { repositoryDir } from "../parts/paths.ts";

/** By option: nfpm is built first (two minutes), and packages of 60 MB are made twice. */
const isWanted = process.env["CRIB_TEST_RELEASE"] === "1";

function run(argv: readonly string[], env: Record<string, string> = {}) {
  const { stdout, stderr, exitCode } = Bun.spawnSync([...argv], {
    cwd: repositoryDir,
    env: { ...process.env, ...env },
  });
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: ${exitCode}: ${stdout}${stderr}`);
  return stdout.toString();
}

describe.skipIf(!isWanted)("packages of a release", () => {
  let dir = "";
  beforeAll(() => {
    dir = mkdtempSync("/var/tmp/crib-test-");
    for (const output of ["one", "other"]) {
      const argv = ["release/release.ts", "--arch", "amd64", "--executable", executable];
      run([process.execPath, ...argv, "--output", `${dir}/${output}`]);
    }
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const deb = () => `${dir}/one/crib_0.1.0_amd64.deb`;

  test("two releases of one commit are the same bytes", () => {
    const report = run([process.execPath, "release/compare.ts", `${dir}/one`, `${dir}/other`]);
    expect(report).not.toContain("different");
    expect(report.split("\n").length).toBeGreaterThan(8);
    run(["sh", "-c", `cd ${dir}/one && sha256sum --check --strict SHA256SUMS`]);
  });

  test("the .deb has the executable, the service, the configuration and its licences", () => {
    const listed = run(["dpkg-deb", "--contents", deb()]);
    for (const path of [
      ...["usr/bin/crib", "usr/lib/systemd/system/crib.service", "etc/crib/config.toml"],
      ...["usr/lib/modules-load.d/crib.conf", "usr/lib/sysctl.d/60-crib.conf"],
      ...["usr/share/man/man1/crib.1", "usr/share/man/man1/crib-run.1"],
      ...["usr/share/bash-completion/completions/crib", "usr/share/doc/crib/SOURCES.md"],
    ]) {
      expect(listed).toContain(` ./${path}\n`);
    }
    expect(run(["dpkg-deb", "--info", deb(), "conffiles"])).toBe("/etc/crib/config.toml\n");
    run(["dpkg-deb", "-x", deb(), `${dir}/root`]);
    const unit = readFileSync(`${dir}/root/usr/lib/systemd/system/crib.service`, "utf8");
    expect(unit).toContain("\nExecStart=/usr/bin/crib serve\n");
    expect(unit).not.toContain("/usr/local");
    const config = readFileSync(`${dir}/root/etc/crib/config.toml`, "utf8");
    expect(config).toBe(run([executable, "config", "default"]));
    const licences = readFileSync(`${dir}/root/usr/share/doc/crib/copyright`, "utf8");
    for (const name of ["busybox", "prom-client", "opencontainers/runc"]) {
      expect(licences).toContain(name);
    }
  });

  test("dpkg installs, configures, removes and purges it in a root of its own", () => {
    const root = `${dir}/dpkg`;
    for (const path of ["var/lib/dpkg/info", "var/lib/dpkg/updates", "etc/crib"]) {
      mkdirSync(`${root}/${path}`, { recursive: true });
    }
    for (const name of ["status", "available"]) writeFileSync(`${root}/var/lib/dpkg/${name}`, "");
    // Its scripts run here, with DPKG_ROOT.
    const dpkg = (...argv: string[]) =>
      run([
        "dpkg",
        ...[`--root=${root}`, "--force-script-chrootless", "--force-not-root", "--log=/dev/null"],
        ...argv,
      ]);
    dpkg("--install", deb());
    const status = () => readFileSync(`${root}/var/lib/dpkg/status`, "utf8");
    expect(status()).toContain("Status: install ok installed");
    writeFileSync(`${root}/etc/crib/config.toml`, 'log.level = "warn"\n');
    dpkg("--install", "--force-confold", deb());
    expect(readFileSync(`${root}/etc/crib/config.toml`, "utf8")).toBe('log.level = "warn"\n');
    dpkg("--remove", "crib");
    expect(existsSync(`${root}/usr/bin/crib`)).toBe(false);
    expect(existsSync(`${root}/etc/crib/config.toml`)).toBe(true);
    mkdirSync(`${root}/var/lib/crib`, { recursive: true });
    dpkg("--purge", "crib");
    expect(existsSync(`${root}/etc/crib`) || existsSync(`${root}/var/lib/crib`)).toBe(false);
    // A node of `crib install` is told to remove that first.
    for (const path of ["etc/crib/installed.json", "usr/local/bin/crib"]) {
      mkdirSync(dirname(`${root}/${path}`), { recursive: true });
      writeFileSync(`${root}/${path}`, "");
    }
    expect(() => dpkg("--install", deb())).toThrow("crib uninstall");
  });

  test("the .apk has lines of one key each, and nothing in it has another time than the commit", () => {
    // Three gzip streams, each with a tar of its own.
    const unpacked = `gzip -dc ${dir}/one/crib_0.1.0_x86_64.apk 2>/dev/null | tar --ignore-zeros`;
    const info = run(["sh", "-c", `${unpacked} -xO .PKGINFO`]);
    for (const line of info.trim().split("\n")) expect(line).toMatch(/^(#.*|\w+ = .+)$/);
    const seconds = run(["git", "log", "-1", "--format=%ct"]).trim();
    const listed = run(["sh", "-c", `export TZ=UTC; ${unpacked} -tv --full-time`]);
    const at = new Date(Number(seconds) * 1000).toISOString().slice(0, 19).replace("T", " ");
    const times = listed
      .trim()
      .split("\n")
      .map((line) => line.match(/\d{4}-\d\d-\d\d [\d:]{8}/)?.[0]);
    expect(new Set(times)).toEqual(new Set(["1970-01-01 00:00:00", at]));
  });

  test.skipIf(Bun.which("rpm") === null)("rpm installs and removes it, and nothing is left", () => {
    const root = `${dir}/rpm`;
    mkdirSync(root);
    const rpm = (...argv: string[]) => run(["rpm", "--root", root, ...argv]);
    rpm("--initdb");
    rpm("--noscripts", "--nodeps", "-i", `${dir}/one/crib-0.1.0-1.x86_64.rpm`);
    expect(existsSync(`${root}/usr/bin/crib`)).toBe(true);
    rpm("--noscripts", "-e", "crib");
    expect(run(["find", root, "-name", "*crib*"])).toBe("");
  });

  test("the scripts of packages are sh without errors", () => {
    for (const name of ["preinstall", "postinstall", "preremove", "postremove"]) {
      run(["sh", "-n", `release/scripts/${name}.sh`]);
    }
  });

  test("the SBOM names every kind of part once, with versions", () => {
    const { bomFormat, components, serialNumber } = JSON.parse(
      readFileSync(`${dir}/one/crib.cdx.json`, "utf8"),
    );
    expect(bomFormat).toBe("CycloneDX");
    expect(serialNumber).toMatch(
      /^urn:uuid:[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-8[\da-f]{3}-[\da-f]{12}$/,
    );
    const urls: string[] = components.map(({ purl }: { purl: string }) => purl);
    expect(new Set(urls).size).toBe(urls.length);
    for (const part of [
      ...["pkg:npm/prom-client@", "pkg:npm/bun@", "pkg:golang/github.com/opencontainers/runc@v"],
      ...["pkg:golang/std@", "pkg:deb/debian/crun@1", "pkg:deb/debian/busybox@1"],
    ]) {
      expect(urls.filter((url) => url.startsWith(part))).toHaveLength(1);
    }
    const sources = readFileSync(`${dir}/one/SOURCES.md`, "utf8");
    expect(sources).toMatch(/^\| crun \| GPL-2.0-or-later .* \| crun \| 1\./m);
    expect(readFileSync(`${dir}/one/RELEASE_NOTES.md`, "utf8")).toContain("### Added");
  });
});
