import { expect, test } from "bun:test";

const marker = "CRIB_TEST_OWN_NETWORK";

/** Whether this process may change networks and mounts as it likes, see `inOwnNetwork`. */
export const hasOwnNetwork = process.env[marker] === "1";

/** When a test in there hangs, and when all of them together take too long. */
const hangMs = 600_000;
const allMs = 1_800_000;

/**
 * Runs a test file again in network and mount namespaces of its own, so that bridges, rules and mounts never meet the machine's.
 * Called once at the top of the file; the file's tests are for `hasOwnNetwork` only.
 */
export function inOwnNetwork(file: string): void {
  test(
    "in namespaces of its own",
    async () => {
      const setUp = 'ip link set lo up && exec "$@"';
      const bunTest = [process.execPath, "test", `--timeout=${hangMs}`, file];
      const child = Bun.spawn(
        ["unshare", "--net", "--mount", "sh", "-c", setUp, "sh", ...bunTest],
        { env: { ...process.env, [marker]: "1" }, stdout: "pipe", stderr: "pipe" },
      );
      const [code, out, err] = await Promise.all([
        child.exited,
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
      ]);
      expect(code === 0 ? "passed" : out + err).toBe("passed");
    },
    allMs,
  );
}
