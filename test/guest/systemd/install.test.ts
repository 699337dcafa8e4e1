import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { makeImpostor, otherBuild } from "../../harness/other-versions.ts";
import { executable } from "../../harness/payload.ts";
import { repositoryDir } from "../../parts/paths.ts";
import { run } from "../../parts/run.ts";
import { guestCache } from "../packages.ts";
import { systemdFiles } from "./files.ts";
import { type SystemdNode, startSystemdNode } from "./node.ts";

const enabled = process.env["CRIB_TEST_GUEST"] === "1" && process.arch === "x64";
const minute = 60_000;
/** Of an upgrade, and half as many of an install: a minute each. */
const powerCuts = Number(process.env["CRIB_TEST_POWER_CUTS"] ?? 4);

/** What the scripts share. `load` is a container that counts; `counted` prints whether its log has every number once. */
const functions = `set -e
  exec 9> /dev/console; BASH_XTRACEFD=9; set -x # console.log shows what a script waits for
  cd /usr/local/share/guest
  image=crib.local/demo:1
  serving() { until crib info > /dev/null 2>&1; do sleep 0.5; done; }
  process() { crib inspect "$1" | sed -n 's/^ *"pid": \\([0-9]*\\),\\?$/\\1/p' | head -n 1; }
  load() { crib run -d --name load $image sh -c 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done' > /dev/null; }
  counted() { crib logs load | awk '$1 != NR { bad++ } END { print (NR > 10 && !bad) ? "counted" : "lost " bad " of " NR }'; }
  networked() {
    mkdir -p /etc/crib/config.toml.d
    printf '[network]\\ndefault = "embedded"\\n' > /etc/crib/config.toml.d/test.toml
  }
  left() {
    find / -xdev -path /usr/local/share/guest -prune -o -path /opt/registry -prune -o -path /var/log -prune -o -path /etc/crib/certs.d -prune \\
      -o \\( -name '*crib*' -o -name crictl.yaml \\) -print | grep -vx /etc/crib || true
    systemctl list-unit-files --no-legend 'crib*' | cat
    systemctl list-units --all --no-legend --plain 'crib*' | grep -v ' not-found ' || true # as long as jobs name it
    grep -c crib /proc/self/mountinfo || true
    pgrep -ax crib || true
  }
`;

describe.skipIf(!enabled)("crib on a node with systemd", () => {
  let node: SystemdNode;
  let dir = "";
  const shell = async (script: string) =>
    (await node.output(functions + script)).trim().split("\n");

  beforeAll(async () => {
    dir = mkdtempSync("/var/tmp/crib-test-");
    copyFileSync(executable, `${dir}/crib-new`);
    otherBuild(`${dir}/crib-other`);
    makeImpostor(`${dir}/crib-broken`, "return 1;", "-static");
    const release = ["release/release.ts", "--arch", "amd64", "--format", "deb"];
    const argv = [process.execPath, ...release, "--executable", executable];
    await run([...argv, "--output", `${dir}/release`], { cwd: repositoryDir });
    copyFileSync(`${dir}/release/crib_0.1.0_amd64.deb`, `${dir}/crib.deb`);
    node = await startSystemdNode({
      outDir: join(guestCache, "install"),
      files: systemdFiles(),
      downloads: ["crib-new", "crib-other", "crib-broken", "crib.deb"].map(
        (name) => `${dir}/${name}`,
      ),
      progress: (line) => console.log(line),
    });
  }, 15 * minute);

  afterAll(async () => {
    await node?.[Symbol.asyncDispose]();
    if (dir !== "") rmSync(dir, { recursive: true, force: true });
  }, minute);

  test(
    "the .deb gives a running node, is upgraded under a container, and a purge leaves nothing",
    async () => {
      const lines = await shell(`
        networked; dpkg -i crib.deb > /dev/null
        systemctl is-active crib; systemctl is-enabled crib; serving
        crib run --rm $image echo hello
        load; pid=$(process load)
        dpkg -i crib.deb > /dev/null; serving
        [ "$(process load)" = $pid ] && [ -d /proc/$pid ] && echo same; counted
        dpkg --purge crib > /dev/null; left`);
      expect(lines).toEqual(["active", "enabled", "hello", "same", "counted", "0"]);
    },
    15 * minute,
  );

  test(
    "crib install serves, also after a reboot; pods of before have ended, those with a policy run again",
    async () => {
      const installed = await shell(`
        networked; ./crib-new install > /dev/null; hash -r
        systemctl is-active crib; systemctl is-enabled crib
        crib run -d --name always --restart always $image sleep 1000000 > /dev/null
        crictl pods -q | wc -l`);
      expect(installed).toEqual(["active", "enabled", "1"]);
      await node.reboot("orderly");
      const back = await shell(`
        serving; until [ "$(crib ps -q --pod always | wc -l)" = 1 ]; do sleep 0.5; done
        systemctl is-active crib; crib exec always echo alive; crib rm -f always > /dev/null`);
      expect(back).toEqual(["active", "alive"]);
    },
    15 * minute,
  );

  test(
    "an upgrade under load loses no line and no container; a broken one goes back by itself",
    async () => {
      const lines = await shell(`
        serving; load; pid=$(process load)
        same() { [ "$(process load)" = $pid ] && [ -d /proc/$pid ] && echo same; }
        is() { cmp /usr/local/bin/crib $1 && echo $1; same; }
        crib upgrade ./crib-other > /dev/null; is crib-other
        crib rollback > /dev/null; is crib-new
        crib upgrade ./crib-broken > /dev/null 2> /tmp/said || echo $?
        grep -o 'the previous version is back' /tmp/said || cat /tmp/said
        serving; is crib-new
        counted; crib rm -f load > /dev/null; systemctl --failed --no-legend | wc -l`);
      expect(lines).toEqual([
        ...["crib-other", "same", "crib-new", "same"],
        ...["1", "the previous version is back", "crib-new", "same", "counted", "0"],
      ]);
    },
    15 * minute,
  );

  test(
    "a power cut in an upgrade leaves a node that boots into one of the two versions",
    async () => {
      for (let i = 0; i < powerCuts; i++) {
        const [from, to] = i % 2 === 0 ? ["crib-new", "crib-other"] : ["crib-other", "crib-new"];
        const afterMs = Math.round(Math.random() * 15_000);
        await shell(`serving; crib upgrade ./${from} > /dev/null; sync`);
        await node.cutPower(`/usr/local/bin/crib upgrade /usr/local/share/guest/${to}`, afterMs);
        const [version, ...rest] = await shell(`
          serving
          for one in crib-new crib-other; do cmp -s /usr/local/bin/crib $one && echo $one; done
          until [ ! -e /usr/local/bin/crib.upgrading ]; do sleep 0.5; done
          crib run --rm $image echo works`);
        console.log(`cut after ${afterMs} ms of an upgrade to ${to}: ${version}`);
        expect([from, to]).toContain(version as string);
        expect(rest).toEqual(["works"]);
      }
    },
    powerCuts * 5 * minute,
  );

  test(
    "uninstall leaves nothing; an install that the power was cut in is made good by the next",
    async () => {
      for (let i = 0; i < Math.ceil(powerCuts / 2); i++) {
        const afterMs = Math.round(Math.random() * 10_000);
        expect(
          await shell(`serving; crib uninstall --purge --yes > /dev/null; left; sync`),
        ).toEqual(["0"]);
        await node.cutPower(`${functions} networked; ./crib-new install`, afterMs);
        const lines = await shell(`
          networked; ./crib-new install > /dev/null; hash -r
          systemctl is-active crib; systemctl is-enabled crib; cmp /usr/local/bin/crib crib-new
          crib run --rm $image echo works`);
        console.log(`cut after ${afterMs} ms of an install`);
        expect(lines).toEqual(["active", "enabled", "works"]);
      }
      expect(await shell(`crib uninstall --purge --yes > /dev/null; left`)).toEqual(["0"]);
    },
    powerCuts * 5 * minute,
  );
});
