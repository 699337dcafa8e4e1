import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { generateKeyPairSync, sign } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { importDemoImage } from "../harness/daemon.ts";
import { hasOwnNetwork, inOwnNetwork } from "../harness/own-network.ts";
import { ownNode } from "../harness/own-node.ts";
import { executable } from "../harness/payload.ts";
import { demoImage } from "../harness/pod.ts";
import { type RegistryServer, startRegistry } from "../harness/registry-server.ts";
import { parts } from "../parts/paths.ts";
import { asHere, notRun } from "./docs-not-run.ts";

if (!hasOwnNetwork) inOwnNetwork(import.meta.path);
const describeInside = hasOwnNetwork ? describe : () => {};

const source = resolve(import.meta.dir, "../..");

/** Serves without a cluster's network, and finds the registry of the tests under another's name. */
const nodeOfOne = `
  mkdir -p /etc/crib/config.toml.d /etc/crib/certs.d
  printf '[network]\\ndefault = "embedded"\\n' >/etc/crib/config.toml.d/test.toml
  for host in docker.io registry.example; do
    mkdir -p /etc/crib/certs.d/$host
    printf '[host."%s"]\\n' $REGISTRY >/etc/crib/certs.d/$host/hosts.toml
  done
  ./crib install --init none`;

interface Command {
  readonly page: string;
  readonly line: string;
}

/** Each line of each block of shell, README's quick start apart, which quick-start.test.ts runs. */
function commands(): readonly Command[] {
  const pages = ["README.md", ...readdirSync(join(source, "docs")).map((name) => `docs/${name}`)];
  return pages
    .filter((page) => page.endsWith(".md"))
    .sort()
    .flatMap((page) => {
      const text = readFileSync(join(source, page), "utf8");
      const blocks = [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = ""]) => block);
      return blocks
        .filter((block) => !block.startsWith("install -m 755 dist/crib"))
        .flatMap((block) => block.trim().split("\n"))
        .map((line) => ({ page, line: line.replace(/ {2,}#.*$/, "") }));
    });
}

const reasonOf = ({ line }: Command) => notRun.find(([pattern]) => pattern.test(line))?.[1];

test("every command of the documentation is run, or a reason says why not", () => {
  const all = commands();
  expect(all.length).toBeGreaterThan(120);
  const unused = notRun.filter(([pattern]) => !all.some(({ line }) => pattern.test(line)));
  expect(unused).toEqual([]);
  expect(all.filter((command) => reasonOf(command) === undefined).length).toBeGreaterThan(90);
});

describeInside("what the documentation says to type", () => {
  const node = ownNode();
  const { dir } = node;
  const work = `${dir.path}/work`;
  let registry: RegistryServer;

  beforeAll(async () => {
    node.enter();
    importDemoImage("/var/lib/crib");
    mkdirSync(`${work}/site`, { recursive: true });
    copyFileSync(executable, `${work}/crib`);
    await otherBuilds();
    writeFileSync(`${work}/site/index.html`, "hello\n");
    registry = await startRegistry();
    const ready = `
      ${nodeOfOne}
      until crib image inspect ${demoImage} >/dev/null 2>&1; do sleep 0.1; done
      crib image export ${demoImage} -o demo.tar`;
    expect(await shell(ready)).toEqual({ code: 0, err: "" });
  }, 120_000);

  afterAll(async () => {
    await shell("crib uninstall --purge --yes || true");
    await registry[Symbol.asyncDispose]();
    node[Symbol.dispose]();
  });

  /** What differs from crib in bytes that nobody reads: each another version to upgrade to, one of them signed. */
  async function otherBuilds(): Promise<void> {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    writeFileSync(`${work}/release.pub`, publicKey.export({ type: "spki", format: "pem" }));
    for (const [i, name] of ["crib-new", "crib-0.2.0"].entries()) {
      const bytes = readFileSync(executable);
      bytes[15] = i + 1; // EI_PAD, elf(5)
      writeFileSync(`${work}/${name}`, bytes, { mode: 0o755 });
      const signature = sign("sha256", bytes, privateKey).toString("base64");
      writeFileSync(`${work}/${name}.sig`, `${signature}\n`);
    }
    const own = sign("sha256", readFileSync(executable), privateKey).toString("base64");
    writeFileSync(`${work}/crib.sig`, `${own}\n`);
  }

  async function shell(script: string) {
    const file = `${work}/out`;
    // A file, since a daemon that is started keeps what it is given.
    const child = Bun.spawn(["bash", "-e", "-o", "pipefail", "-c", script], {
      cwd: work,
      env: {
        PATH: `/usr/local/bin:${parts.crictl.replace(/\/[^/]*$/, "")}:${process.env["PATH"]}`,
        HOME: "/root",
        TERM: "xterm",
        REGISTRY: registry?.url ?? "",
      },
      stdio: ["ignore", Bun.file(file), Bun.file(`${file}.err`)],
    });
    const code = await child.exited;
    return { code, err: code === 0 ? "" : readFileSync(`${file}.err`, "utf8") };
  }

  const images = [
    ...["docker.io/library/alpine:3", "docker.io/library/nginx:1", "registry.local/app:1"],
    ...["registry.example/app:1", "local/app:1", "local/db:7"],
  ];

  /** What a reader has by then: images of these names, a pod that runs and one that has ended, a volume, archives. */
  const setting = (line: string) => `
    crib info >/dev/null 2>&1 || { ${nodeOfOne}; }
    crib image inspect ${demoImage} >/dev/null 2>&1 || crib image import demo.tar
    for name in ${images.join(" ")}; do crib image inspect $name >/dev/null 2>&1 || crib tag ${demoImage} $name; done
    ${line.includes("--name") ? "crib rm -f --all >/dev/null" : ""}
    state() { crib inspect $1 2>/dev/null | jq -r .status.state; }
    if ${line.includes("--name") ? "false" : "true"}; then
      [ "$(state web)" = CONTAINER_RUNNING ] || {
        crib rm -f web web-old >/dev/null 2>&1 || true
        crib run -d --name web docker.io/library/nginx:1 sh -c '
          mkdir -p /srv /etc/nginx /usr/share/nginx/html /var/log; echo conf >/etc/nginx/nginx.conf
          trap "" HUP; echo ready; exec httpd -f -p 8080' >/dev/null
        until crib logs web | grep -q ready; do sleep 0.1; done
      }
      [ "$(state job)" = CONTAINER_EXITED ] || {
        crib rm -f job >/dev/null 2>&1 || true
        crib run -d --name job local/app:1 true >/dev/null
        crib wait job >/dev/null
      }
    fi
    ${line === "crib rm web" || line === "crib rm --all" ? "crib stop -t 0 web" : ""}
    ${line.startsWith("crib unpause") ? "crib pause web" : ""}
    ${/image import (app|alpine).tar.zst/.test(line) ? `crib image export ${demoImage} -o app.tar.zst; cp app.tar.zst alpine.tar.zst` : ""}
    ${line.startsWith("crib volume inspect") ? "crib volume create data || true" : ""}
    ${line === "crib volume create data" ? "crib volume rm data || true" : ""}
    ${line === "crib rollback" ? "crib upgrade ./crib-new" : ""}
    mkdir -p ~/.config/fish/completions /usr/local/share/zsh/site-functions /srv/data`;

  for (const { page, line } of hasOwnNetwork ? commands() : []) {
    if (reasonOf({ page, line }) !== undefined) continue;
    test(`${page}: ${line}`, async () => {
      const before = await shell(setting(line));
      expect(before).toEqual({ code: 0, err: "" });
      expect(await shell(asHere(line))).toEqual({ code: 0, err: "" });
    });
  }
});
