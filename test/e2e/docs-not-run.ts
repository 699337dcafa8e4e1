/** Commands of the documentation that docs.test.ts does not run, and why: the first pattern that matches a line. */
export const notRun: readonly (readonly [RegExp, string])[] = [
  [/^npm (run demo|test)/, "this is a test of it"],
  [/kubectl|kubelet |k3s /, "needs a cluster; kubelet.test.ts has a kubelet"],
  [/systemctl/, "needs systemd; test/guest/systemd has one"],
  [
    /^export CONTAINER_RUNTIME_ENDPOINT|^crictl (pull|run) /,
    "needs a registry and files; crictl.test.ts",
  ],
  [
    /^crib serve$|crib serve --log-level debug$/,
    "the node's daemon is running; quick-start.test.ts",
  ],
  [/^crib pull|^CRIB_CREDS=.* crib pull/, "needs a registry of this name; resume.test.ts"],
  [/^ssh other /, "needs another node; airgap.test.ts"],
  [/^crib login|^crib logout/, "needs a registry of this name; commands.test.ts"],
  [/^crib (run --rm|exec) -it /, "needs a terminal; cli-streams.test.ts"],
  [/^crib attach/, "needs a terminal; cli-streams.test.ts"],
  [/^crib logs -f /, "ends with its container; cli.test.ts"],
  [/^crib logs --previous/, "needs a container that has been restarted; standalone.test.ts"],
  [/^crib port-forward/, "goes on until Ctrl-C; cli-streams.test.ts"],
  [/^crib events/, "goes on until Ctrl-C; cli.test.ts"],
  [/^crib stats$/, "goes on until Ctrl-C; cli.test.ts"],
  [/^crib (reset|prune volumes)$/, "asks on a terminal; reset.test.ts"],
  [/^crib stats -o json/, "goes on until Ctrl-C; cli.test.ts"],
];

/** The line with what the documentation leaves out, and without what this machine may not have. */
export function asHere(line: string): string {
  return line
    .replace("sha256:0f3a...", "sha256:$(sha256sum crib | cut -d' ' -f1)")
    .replace(/^sudo /, ""); // the tests are root
}
