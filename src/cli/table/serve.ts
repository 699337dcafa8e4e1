import { defineSpec } from "./spec.ts";

/** The daemon. Its flags are read by daemon/config/config.ts, before anything of the command line is loaded. */
export const serve = defineSpec({
  group: "node",
  summary: "the daemon: serve CRI v1 on a Unix socket until SIGTERM",
  usage: "",
  details: "Containers outlive it.",
  examples: [
    "crib serve",
    "crib config default >/etc/crib/config.toml && crib serve --log-level debug",
  ],
  options: {
    config: {
      kind: "value",
      argument: "FILE",
      help: "configuration (/etc/crib/config.toml if it is there), and FILE.d/*.toml",
      completes: "file",
    },
    root: {
      kind: "value",
      argument: "DIR",
      help: "images, file systems and records",
      completes: "directory",
    },
    state: {
      kind: "value",
      argument: "DIR",
      help: "sockets, bundles and namespaces",
      completes: "directory",
    },
    listen: { kind: "value", argument: "ADDRESS", help: "CRI socket (unix://STATE/crib.sock)" },
    "log-level": {
      kind: "value",
      argument: "LEVEL",
      help: "debug, info, warn or error",
      choices: ["debug", "info", "warn", "error"],
    },
    payload: {
      kind: "value",
      argument: "DIR",
      help: "the embedded parts, when run from source",
      completes: "directory",
    },
  },
  positionals: { min: 0, max: 0 },
});
