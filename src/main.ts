/**
 * One executable, several roles: the first argument says which. Each role's modules are loaded only in that role,
 * since their memory is paid once a process (DESIGN "One executable, several roles").
 */
async function runRole([role = "", ...args]: readonly string[]): Promise<number> {
  switch (role) {
    case "namespaces":
      return (await import("./network/namespaces-role.ts")).runNamespaces(args);
    default:
      return (await import("./cli/cli.ts")).runCli(process.argv.slice(2), {
        loadConfigTools,
      });
  }
}

/** `crib config` reads as the daemon reads, and the command line imports no daemon. */
async function loadConfigTools() {
  const [{ configDefaultText }, { parseConfig }] = await Promise.all([
    import("./daemon/config-text.ts"),
    import("./daemon/config-file.ts"),
  ]);
  return { defaultText: configDefaultText, check: parseConfig };
}

process.exit(await runRole(process.argv.slice(2)));
