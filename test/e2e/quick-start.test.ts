import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { resolve } from "node:path";
import { hasOwnNetwork, inOwnNetwork } from "../harness/own-network.ts";
import { ownNode } from "../harness/own-node.ts";
import { parts } from "../parts/paths.ts";

if (!hasOwnNetwork) inOwnNetwork(import.meta.path);
const describeInside = hasOwnNetwork ? describe : () => {};

const source = resolve(import.meta.dir, "../..");

/** The first block of shell after the heading that holds the line. */
async function blockWith(line: string): Promise<string> {
  const text = await Bun.file(`${source}/README.md`).text();
  const blocks = [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = ""]) => block);
  const found = blocks.find((block) => block.includes(line));
  if (found === undefined) throw new Error(`README has no block with ${line}`);
  return found;
}

describeInside("README's quick start", () => {
  const node = ownNode();
  beforeAll(() => node.enter());
  afterAll(() => node[Symbol.dispose]());

  test("works line by line on a node without a registry", async () => {
    const block = await blockWith("install -m 755 dist/crib");
    const closing = "status=$?; kill $!; wait $!; crib killall --yes || true; exit $status";
    // Not every machine that builds crib has curl; where it does, it is the one.
    const curl = `command -v curl >/dev/null || curl() { ${parts.busybox} wget -qO- "$@"; }`;
    const script = `trap '${closing}' EXIT; set -e\n${curl}\n${block}`;
    const shell = Bun.spawn(["bash", "-c", script], {
      cwd: source,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const [out, err, code] = await Promise.all([
      new Response(shell.stdout).text(),
      new Response(shell.stderr).text(),
      shell.exited,
    ]);
    expect({ code, err: code === 0 ? "" : err }).toEqual({ code: 0, err: "" });
    expect(out).toMatch(/^Linux demo-/m);
    expect(out).toMatch(/web +web +crib\.local\/demo:1 +running/);
    expect(out).toMatch(/^hello$/m);
    expect(out).toMatch(/1 root +httpd -f -h \/www/);
  });
});
