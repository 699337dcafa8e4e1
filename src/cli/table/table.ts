import * as containers from "./containers.ts";
import * as images from "./images.ts";
import * as node from "./node.ts";
import { run } from "./run.ts";
import { serve } from "./serve.ts";
import type { CommandSpec } from "./spec.ts";

/** The commands, in the order in which help shows them. main.ts has what each of them loads. */
export const commandTable = {
  pull: images.pull,
  images: images.images,
  image: images.image,
  pack: images.pack,
  rmi: images.rmi,
  tag: images.tag,
  history: images.history,
  login: images.login,
  logout: images.logout,
  df: images.df,
  run,
  ps: containers.ps,
  pods: containers.pods,
  logs: containers.logs,
  exec: containers.exec,
  attach: containers.attach,
  "port-forward": containers.portForward,
  start: containers.start,
  stop: containers.stop,
  restart: containers.restart,
  cp: containers.cp,
  kill: containers.kill,
  wait: containers.wait,
  pause: containers.pause,
  unpause: containers.unpause,
  rename: containers.rename,
  rm: containers.rm,
  top: containers.top,
  stats: containers.stats,
  events: containers.events,
  inspect: containers.inspect,
  volume: containers.volume,
  info: node.info,
  check: node.check,
  debug: node.debug,
  registry: node.registry,
  version: node.version,
  config: node.config,
  install: node.install,
  upgrade: node.upgrade,
  rollback: node.rollback,
  prune: containers.prune,
  reset: node.reset,
  killall: node.killall,
  uninstall: node.uninstall,
  demo: node.demo,
  completion: node.completion,
  man: node.man,
} as const satisfies Readonly<Record<string, CommandSpec>>;

export type CommandTable = typeof commandTable;
export type CommandName = keyof CommandTable;

export const commandNames = Object.keys(commandTable) as readonly CommandName[];

/** With the daemon, which is a role of its own: what help, pages and completions know. */
export const allCommands: Readonly<Record<string, CommandSpec>> = { serve, ...commandTable };

export function findCommand(name: string): CommandName | undefined {
  return commandNames.find((known) => known === name);
}
