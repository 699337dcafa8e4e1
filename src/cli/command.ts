import type { Context } from "../lib/context.ts";
import type { OptionValues } from "./args.ts";
import type { CriClient } from "./client.ts";
import type { Input } from "./input.ts";
import type { Output } from "./output/output.ts";
import type { commonOptions, OptionSpecs } from "./table/spec.ts";
import type { CommandName, CommandTable } from "./table/table.ts";

/** What a command may use. Tests give their own. */
export interface CommandEnv {
  /** Its signal is aborted by the first Ctrl-C or SIGTERM. */
  readonly ctx: Context;
  /** Aborted by the second one: do not wait any longer. */
  readonly hurry: AbortSignal;
  readonly input: Input;
  readonly out: Output;
  readonly now: () => Date;
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Opens the CRI socket that `--socket` or CRIB_SOCKET names; whoever calls disposes. */
  readonly connect: () => CriClient;
  /** The daemon's own reader of its configuration, handed in by main.ts: this folder imports no daemon. */
  readonly loadConfigTools: () => Promise<ConfigTools>;
  /** For what is done to a node without its daemon; handed in likewise. */
  readonly loadNodeTools: (places: NodePlaces) => Promise<NodeTools>;
}

/** A daemon's flags, as far as they are given. */
export interface NodePlaces {
  readonly config: string | undefined;
  readonly root: string | undefined;
  readonly state: string | undefined;
  readonly listen: string | undefined;
}

/** A daemon by its configuration, which need not run. */
export interface NodeTools {
  readonly socket: string;
  readonly root: string;
  readonly state: string;
  /** Throws when it runs. */
  reset(ctx: Context, options: { readonly wipe: boolean }): Promise<NodeReset>;
}

export interface NodeReset {
  /** Those that are gone. */
  readonly pods: readonly {
    readonly labels: Readonly<Record<string, string>>;
  }[];
  readonly containers: number;
  /** False: pods of another daemon use it. */
  readonly networkRemoved: boolean;
  readonly failures: readonly string[];
}

export interface ConfigTools {
  defaultText(): string;
  /**
   * The configuration that a daemon with this file would have, with its drop-ins; the usual file unless named. Throws what
   * is wrong, with file, line and key.
   */
  read(file: string | undefined): Promise<ReadConfig>;
  /** The hosts that a pull from `name` (`host` or `host/repository`) would ask, in order. */
  explainRegistry(
    ctx: Context,
    name: string,
    options: { readonly configFile: string | undefined; readonly asks: boolean },
  ): Promise<readonly ExplainedHost[]>;
  /** Asks a registry with the logins that the text of a Docker config.json has, and no others. */
  checkLogin(
    ctx: Context,
    registry: string,
    options: { readonly credentials: string; readonly configFile: string | undefined },
  ): Promise<{ readonly ok: boolean; readonly text: string }>;
  /** What the configured runtime handlers lack on this node, with the daemon's own search; throws as `read` does. */
  checkHandlers(ctx: Context, file: string | undefined): Promise<readonly HandlerFinding[]>;
  /** What the signature policy asks of images of `name`, in one line. */
  explainPolicy(name: string, configFile: string | undefined): Promise<string>;
}

export interface ReadConfig {
  readonly files: readonly string[];
  /** Every setting, without secrets, and where its value is from. */
  readonly settings: readonly {
    readonly key: string;
    readonly value: unknown;
    readonly origin: string;
  }[];
}

/** A runtime handler of the configuration, and one thing about it. */
export interface HandlerFinding {
  readonly name: string;
  readonly level: "ok" | "warning" | "missing";
  readonly detail: string;
}

/** What would be done with one host of a registry, and the file that says so. */
export interface ExplainedHost {
  readonly url: string;
  readonly isMirror: boolean;
  readonly capabilities: readonly string[];
  readonly file: string | undefined;
  readonly repository: string;
  readonly ca: readonly string[];
  readonly clientCertificates: readonly string[];
  readonly skipVerify: boolean;
  readonly headers: readonly string[];
  readonly proxy: string | undefined;
  readonly credentials: string | undefined;
  readonly problems: readonly string[];
  readonly response: { readonly ok: boolean; readonly text: string } | undefined;
}

export type CommandRun = (
  env: CommandEnv,
  /** As its specification in the table has them. */
  options: OptionValues<OptionSpecs>,
  positionals: readonly string[],
) => Promise<number>;

/** What a command does, which is loaded when it is called. Returns the exit code. */
export interface Command {
  readonly name: CommandName;
  readonly run: CommandRun;
}

/** Ties a command's options to their types in the table. */
export function implementCommand<Name extends CommandName>(
  name: Name,
  run: (
    env: CommandEnv,
    options: OptionValues<CommandTable[Name]["options"]> & OptionValues<typeof commonOptions>,
    positionals: readonly string[],
  ) => Promise<number>,
): Command {
  return { name, run: run as CommandRun };
}
