import type { Command, NodePlaces } from "./cli/command.ts";
import type { CommandName } from "./cli/table/table.ts";
import type { TraceTarget } from "./daemon/traces/trace-target.ts";
import type { Context } from "./lib/context.ts";
import { describe } from "./lib/errors.ts";
import type { Log } from "./lib/log.ts";

/**
 * One executable, several roles: the first argument says which. Each role's modules are loaded only in that role,
 * since a process pays for them in memory. Returns the exit code.
 */
async function runRole([role, ...args]: readonly string[]): Promise<number> {
  switch (role) {
    case "serve":
      return await runServe(args);
    case "monitor":
      (await import("./monitor/run.ts")).runMonitor(args);
      return 0;
    case "source":
      return (await import("./container/source/source-role.ts")).runSource(args);
    case "unpack":
      return await (await import("./snapshot/child/unpack-role.ts")).runUnpack(args);
    case "counters":
      return (await import("./network/inside/counters-role.ts")).runCounters(args);
    case "transfer":
      return await (await import("./cli/copy/transfer-role.ts")).runTransfer(args);
    case "sockets":
      return (await import("./network/inside/sockets-role.ts")).runSockets(args);
    default:
      return await (await import("./cli/cli.ts")).runCli(process.argv.slice(2), {
        loadCommand,
        loadConfigTools,
        loadNodeTools,
      });
  }
}

async function runServe(args: readonly string[]): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    const parts = { loadCommand, loadConfigTools, loadNodeTools };
    return await (await import("./cli/cli.ts")).runCli(["help", "serve"], parts);
  } else {
    await (await import("./daemon/serve.ts")).serve(args, {
      loadConfigFile,
      // Megabytes that only nodes with plugins, a policy that asks for signatures, a registries.yaml, shims or a cAdvisor need.
      loadNri: async () => (await import("./nri/nri.ts")).Nri,
      loadVerifier: async () => (await import("./signature/verifier.ts")).openVerifier,
      loadRegistries: async () =>
        (await import("./registry/hosts/registries-yaml.ts")).readRegistries,
      loadMetrics: async () => (await import("./daemon/metrics/open-metrics.ts")).openMetrics,
      loadTraces,
      loadShims: async () => await import("./runtime/shim/open-shim.ts"),
      loadContainerdApi: async () => (await import("./compat/containerd-api.ts")).containerdRoutes,
    });
  }
  return 0;
}

/** What each command does; a process loads only its own. */
const commands: Readonly<Record<CommandName, () => Promise<Command>>> = {
  pull: async () => (await import("./cli/commands/pull.ts")).pull,
  images: async () => (await import("./cli/commands/images.ts")).images,
  image: async () => (await import("./cli/commands/image.ts")).image,
  pack: async () => (await import("./cli/commands/pack.ts")).pack,
  rmi: async () => (await import("./cli/commands/rmi.ts")).rmi,
  df: async () => (await import("./cli/commands/df.ts")).df,
  run: async () => (await import("./cli/commands/run.ts")).run,
  ps: async () => (await import("./cli/commands/ps.ts")).ps,
  pods: async () => (await import("./cli/commands/pods.ts")).pods,
  logs: async () => (await import("./cli/commands/logs.ts")).logs,
  exec: async () => (await import("./cli/commands/exec.ts")).exec,
  attach: async () => (await import("./cli/commands/attach.ts")).attach,
  "port-forward": async () => (await import("./cli/commands/port-forward.ts")).portForward,
  start: async () => (await import("./cli/commands/start.ts")).start,
  stop: async () => (await import("./cli/commands/stop.ts")).stop,
  restart: async () => (await import("./cli/commands/restart.ts")).restart,
  rm: async () => (await import("./cli/commands/rm.ts")).rm,
  stats: async () => (await import("./cli/commands/stats.ts")).stats,
  events: async () => (await import("./cli/commands/events.ts")).events,
  inspect: async () => (await import("./cli/commands/inspect.ts")).inspect,
  info: async () => (await import("./cli/commands/info.ts")).info,
  check: async () => (await import("./cli/commands/check.ts")).check,
  cp: async () => (await import("./cli/commands/cp.ts")).cp,
  kill: async () => (await import("./cli/commands/kill.ts")).kill,
  wait: async () => (await import("./cli/commands/wait.ts")).wait,
  pause: async () => (await import("./cli/commands/pause.ts")).pause,
  unpause: async () => (await import("./cli/commands/pause.ts")).unpause,
  rename: async () => (await import("./cli/commands/rename.ts")).rename,
  top: async () => (await import("./cli/commands/top.ts")).top,
  tag: async () => (await import("./cli/commands/tag.ts")).tag,
  history: async () => (await import("./cli/commands/history.ts")).history,
  volume: async () => (await import("./cli/commands/volume.ts")).volume,
  prune: async () => (await import("./cli/commands/prune.ts")).prune,
  login: async () => (await import("./cli/commands/login.ts")).login,
  logout: async () => (await import("./cli/commands/login.ts")).logout,
  debug: async () => (await import("./cli/commands/debug.ts")).debug,
  registry: async () => (await import("./cli/commands/registry.ts")).registry,
  version: async () => (await import("./cli/commands/version.ts")).version,
  config: async () => (await import("./cli/commands/config.ts")).config,
  install: async () => (await import("./cli/commands/install.ts")).install,
  upgrade: async () => (await import("./cli/commands/upgrade.ts")).upgrade,
  rollback: async () => (await import("./cli/commands/upgrade.ts")).rollback,
  reset: async () => (await import("./cli/commands/reset.ts")).reset,
  killall: async () => (await import("./cli/commands/uninstall.ts")).killall,
  uninstall: async () => (await import("./cli/commands/uninstall.ts")).uninstall,
  demo: async () => (await import("./cli/commands/demo.ts")).demo,
  completion: async () => (await import("./cli/commands/completion.ts")).completion,
  man: async () => (await import("./cli/commands/man.ts")).man,
};

async function loadCommand(name: CommandName): Promise<Command> {
  return await commands[name]();
}

/** OpenTelemetry, which only nodes with a collector need. */
async function loadTraces() {
  const { openTraces } = await import("./daemon/traces/open-traces.ts");
  return (log: Log, target: TraceTarget) =>
    openTraces(log, target, {
      "http/protobuf": async () =>
        (await import("@opentelemetry/exporter-trace-otlp-proto")).OTLPTraceExporter,
      grpc: async () => (await import("./daemon/traces/grpc-exporter.ts")).GrpcTraceExporter,
    });
}

/** The parser of configuration files, which only nodes that have one need. */
async function loadConfigFile() {
  return await import("./daemon/config/config-file.ts");
}

/** `crib config` and `crib registry` read as the daemon reads, and the command line imports no daemon. */
async function loadConfigTools() {
  const [text, { loadConfig }, { describeConfig }, registry, policy, handlers] = await Promise.all([
    import("./daemon/config/config-text.ts"),
    import("./daemon/config/config.ts"),
    import("./daemon/config/describe-config.ts"),
    import("./daemon/explain-registry.ts"),
    import("./daemon/explain-policy.ts"),
    import("./daemon/check-handlers.ts"),
  ]);
  const load = async (file: string | undefined) =>
    await loadConfig(
      file === undefined ? [] : [`--config=${file}`],
      { ...process.env },
      loadConfigFile,
    );
  return {
    defaultText: text.configDefaultText,
    async read(file: string | undefined) {
      const { config, given } = await load(file);
      return { files: config.files, settings: describeConfig(given) };
    },
    async explainRegistry(
      ctx: Context,
      name: string,
      { configFile, asks }: { readonly configFile: string | undefined; readonly asks: boolean },
    ) {
      const { config } = await load(configFile);
      return await registry.explainConfigured(ctx, name, { config, asks });
    },
    async checkLogin(
      ctx: Context,
      name: string,
      options: { readonly credentials: string; readonly configFile: string | undefined },
    ) {
      const { config } = await load(options.configFile);
      return await registry.checkLogin(ctx, name, options.credentials, config);
    },
    async checkHandlers(ctx: Context, file: string | undefined) {
      return await handlers.checkHandlers(ctx, (await load(file)).config);
    },
    async explainPolicy(name: string, file: string | undefined) {
      return policy.explainPolicy(name, (await load(file)).config);
    },
  };
}

/** `crib reset` does to a node what its daemon would. */
async function loadNodeTools(places: NodePlaces) {
  const [{ loadConfig }, { resetNode }] = await Promise.all([
    import("./daemon/config/config.ts"),
    import("./daemon/reset.ts"),
  ]);
  const given = Object.entries(places).filter(([, value]) => value !== undefined);
  const { config } = await loadConfig(
    given.map(([name, value]) => `--${name}=${value}`),
    { ...process.env },
    loadConfigFile,
  );
  const { socket, root, state } = config;
  const reset = (ctx: Context, options: { readonly wipe: boolean }) =>
    resetNode(ctx, config, options);
  return { socket, root, state, reset };
}

const exitCode = await runRole(process.argv.slice(2)).catch((err: unknown) => {
  console.error(`crib: ${describe(err)}`);
  return 1;
});
process.exit(exitCode);
