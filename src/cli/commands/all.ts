import type { Command } from "../command.ts";
import { attach } from "./attach.ts";
import { check } from "./check.ts";
import { config } from "./config.ts";
import { debug } from "./debug.ts";
import { demo } from "./demo.ts";
import { df } from "./df.ts";
import { events } from "./events.ts";
import { exec } from "./exec.ts";
import { image } from "./image.ts";
import { images } from "./images.ts";
import { info } from "./info.ts";
import { inspect } from "./inspect.ts";
import { install } from "./install.ts";
import { logs } from "./logs.ts";
import { pack } from "./pack.ts";
import { pods } from "./pods.ts";
import { portForward } from "./port-forward.ts";
import { ps } from "./ps.ts";
import { pull } from "./pull.ts";
import { registry } from "./registry.ts";
import { reset } from "./reset.ts";
import { restart } from "./restart.ts";
import { rm } from "./rm.ts";
import { rmi } from "./rmi.ts";
import { run } from "./run.ts";
import { start } from "./start.ts";
import { stats } from "./stats.ts";
import { stop } from "./stop.ts";
import { killall, uninstall } from "./uninstall.ts";
import { rollback, upgrade } from "./upgrade.ts";
import { version } from "./version.ts";

/** In the order in which help shows them. */
export const commands: readonly Command[] = [
  pull,
  images,
  image,
  pack,
  rmi,
  run,
  ps,
  pods,
  logs,
  exec,
  attach,
  portForward,
  start,
  stop,
  restart,
  rm,
  stats,
  events,
  inspect,
  debug,
  demo,
  df,
  info,
  check,
  registry,
  version,
  config,
  install,
  upgrade,
  rollback,
  reset,
  killall,
  uninstall,
];
