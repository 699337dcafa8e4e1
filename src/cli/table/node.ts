import { defineSpec, outputOptions } from "./spec.ts";

const timeoutOption = {
  timeout: {
    kind: "value",
    argument: "SECONDS",
    help: "until the previous one is put back (120)",
  },
} as const;

export const check = defineSpec({
  group: "node",
  summary: "check what this node lacks to run pods",
  usage: "",
  details:
    "Reads only, changes nothing and needs no daemon. Exit code 1 when something is missing; warnings are no failure.",
  examples: ["crib check", "crib check -o json | jq '.[] | select(.level != \"ok\")'"],
  options: {
    ...outputOptions,
    config: {
      kind: "value",
      argument: "FILE",
      completes: "file",
      help: "the daemon's configuration",
    },
    root: {
      kind: "value",
      argument: "DIR",
      completes: "directory",
      help: "the daemon's data (/var/lib/crib)",
    },
    state: {
      kind: "value",
      argument: "DIR",
      completes: "directory",
      help: "the daemon's state (/run/crib)",
    },
    quiet: { kind: "flag", short: "q", help: "only what is not ok" },
  },
  positionals: { min: 0, max: 0 },
});

export const config = defineSpec({
  group: "node",
  summary: "show, check or reload the configuration of the daemon",
  usage: "default | check [FILE] | show [FILE] | reload",
  details:
    "FILE is /etc/crib/config.toml unless given; the drop-ins FILE.d/*.toml are read after it, in the order of their names, and the later one wins. `show` prints every setting with the file and line that it is from, without secrets: as the running daemon has it, or, where none runs or FILE is given, as the files say. `reload` makes the daemon read its files again and says what has changed and what needs a restart.",
  examples: [
    "crib config default >/etc/crib/config.toml",
    "crib config check && systemctl restart crib",
    "crib config show --given",
    "crib config reload",
    "crib config show -o json | jq '.settings[] | select(.origin != \"default\")'",
  ],
  options: {
    ...outputOptions,
    given: { kind: "flag", help: "only what is not the default" },
  },
  positionals: { min: 1, max: 2 },
  verbs: ["default", "check", "show", "reload"],
});

export const debug = defineSpec({
  group: "node",
  summary: "show what the daemon is doing, or make a support bundle",
  usage: "[bundle [FILE]]",
  details:
    "`bundle` makes a tar.gz that can be mailed: versions, `crib check`, the configuration, what the daemon is doing, records of pods, containers and images, mounts, processes, the end of the log. Secrets, environments and arguments of containers are not in it. FILE is crib-bundle-HOST-TIME.tar.gz in this directory unless given, - is stdout. Without `bundle`: what SIGUSR1 writes to the daemon's log: counts of what it has and holds, and each call and creation in progress with its age and the steps that it is in, the oldest first.",
  examples: ["crib debug", "crib debug -o json | jq .calls", "crib debug bundle"],
  options: {
    ...outputOptions,
    log: {
      kind: "value",
      argument: "FILE",
      completes: "file",
      help: "the daemon's log, where it is neither in the journal nor in /var/log/crib.log",
    },
  },
  positionals: { min: 0, max: 2 },
  verbs: ["bundle"],
});

export const demo = defineSpec({
  group: "node",
  summary: "show that crib works here: run one pod and remove it",
  usage: "",
  details:
    "Needs root, nothing else: starts a daemon of its own in a temporary directory, runs the image that is in this executable, and removes everything again.",
  examples: ["sudo crib demo"],
  options: {},
  positionals: { min: 0, max: 0 },
});

export const info = defineSpec({
  group: "node",
  summary: "show whether the daemon can run pods, and why not",
  usage: "",
  details:
    "What a kubelet asks before it calls the node Ready. Exit code 1 when a condition does not hold.",
  examples: ["crib info", "crib info -o json | jq '.runtimeHandlers[].name'"],
  options: outputOptions,
  positionals: { min: 0, max: 0 },
});

export const install = defineSpec({
  group: "node",
  summary: "install crib on this node as a service, and start it",
  usage: "",
  details: [
    `This executable becomes /usr/local/bin/crib; a service (systemd, OpenRC, or a supervisor script where there is neither),`,
    "configuration, crictl.yaml, kernel modules and sysctls are put in place. Then the service is started, and what kubelets",
    "of this node need is printed. Done again, it changes nothing that is right already; changed files",
    "are kept. `crib upgrade` is for another version under running pods.",
  ].join(" "),
  examples: [
    "./crib install --dry-run",
    "./crib install --kubelet",
    "./crib install --root /mnt/image --init systemd",
  ],
  options: {
    "dry-run": { kind: "flag", help: "print every file, change nothing" },
    root: {
      kind: "value",
      argument: "DIR",
      completes: "directory",
      help: "prepare a node's image in DIR; starts nothing",
    },
    init: {
      kind: "value",
      argument: "NAME",
      help: "systemd, openrc or none (default: found out)",
      choices: ["systemd", "openrc", "none"],
    },
    kubelet: { kind: "flag", help: "also configure the kubelet or k3s of this node" },
    "no-start": { kind: "flag", help: "do not start the service" },
  },
  positionals: { min: 0, max: 0 },
});

export const registry = defineSpec({
  group: "node",
  summary: "explain what a pull from a registry would try, and why",
  usage: "check HOST[/REPOSITORY]",
  details:
    "Lists the hosts in the order in which they are asked, with the file that each setting is from, and asks each for its API; then what the signature policy asks of its images. Reads the node's files as a pull does; needs no daemon. Exit code 1 when no host responses.",
  examples: [
    "crib registry check docker.io",
    "crib registry check registry.example:5000/team/app --offline",
    "crib registry check docker.io -o json | jq '.[].file'",
  ],
  options: {
    ...outputOptions,
    config: {
      kind: "value",
      argument: "FILE",
      completes: "file",
      help: "the daemon's configuration",
    },
    offline: { kind: "flag", help: "ask no host" },
  },
  positionals: { min: 2, max: 2 },
  verbs: ["check"],
});

export const reset = defineSpec({
  group: "node",
  summary: "remove all pods of this node; with --all, all but the executable",
  usage: "",
  details: [
    "Through the daemon if it runs. If not, by its records: also what it keeps for later goes then (monitors, and the",
    "embedded network's bridge and rules, unless another daemon's pods use them). --all also removes images, records",
    "and sockets, and needs the daemon stopped. Root, state and socket are those of the configuration unless named. A kubelet",
    "that runs makes its pods anew. Repeat it after a failure: what is gone already is no failure.",
  ].join(" "),
  examples: [
    "crib reset",
    "systemctl stop kubelet crib && crib reset --yes",
    "systemctl stop crib && crib reset --all && rm /usr/local/bin/crib",
  ],
  options: {
    all: { kind: "flag", help: "also images, records and all else in root and state" },
    yes: { kind: "flag", short: "y", help: "do not ask" },
    config: {
      kind: "value",
      argument: "FILE",
      completes: "file",
      help: "the daemon's configuration",
    },
    root: { kind: "value", argument: "DIR", completes: "directory", help: "the daemon's --root" },
    state: { kind: "value", argument: "DIR", completes: "directory", help: "the daemon's --state" },
  },
  positionals: { min: 0, max: 0 },
});

export const killall = defineSpec({
  group: "node",
  summary: "stop crib and everything that it runs; images stay",
  usage: "",
  details:
    "The service is stopped, every container ended, every mount and network of pods removed. Stop the kubelet first: it makes its pods anew. The service starts again at the next boot, or by hand.",
  examples: ["systemctl stop kubelet && crib killall --yes"],
  options: { yes: { kind: "flag", short: "y", help: "do not ask" } },
  positionals: { min: 0, max: 0 },
});

export const uninstall = defineSpec({
  group: "node",
  summary: "remove crib from this node",
  usage: "",
  details: [
    "Stops everything as `crib killall` does, then removes the service and what `crib install` has put on the node. Images,",
    "records and files that somebody has changed stay, unless --purge.",
  ].join(" "),
  examples: ["crib uninstall --yes", "crib uninstall --purge --yes"],
  options: {
    purge: { kind: "flag", help: "also images, records, and files that were changed" },
    yes: { kind: "flag", short: "y", help: "do not ask" },
  },
  positionals: { min: 0, max: 0 },
});

export const upgrade = defineSpec({
  group: "node",
  summary: "replace this node's crib under running pods",
  usage: "FILE",
  details: [
    "FILE has to be a crib for this node's processor; it is asked for its version and whether it accepts the configuration",
    `first. The old executable is kept as /usr/local/bin/crib.previous. The daemon is started anew; containers run on. When the new one does not serve in time, the`,
    "previous one is put back, also when this command is killed or the power is cut in the middle.",
  ].join(" "),
  examples: [
    "crib upgrade ./crib-0.2.0",
    "crib upgrade ./crib --digest sha256:0f3a...",
    "crib upgrade ./crib --signature crib.sig --key release.pub",
  ],
  options: {
    ...timeoutOption,
    digest: { kind: "value", argument: "DIGEST", help: "what FILE has to be (sha256:...)" },
    signature: { kind: "value", argument: "SIG", help: "a signature of FILE, as cosign sign-blob" },
    key: { kind: "value", argument: "PEM", help: "the public key of that signature" },
  },
  positionals: { min: 1, max: 1, completes: "file" },
});

export const rollback = defineSpec({
  group: "node",
  summary: "put back the version before the last upgrade, under running pods",
  usage: "",
  details: "Done twice, it is the upgrade again.",
  examples: ["crib rollback"],
  options: timeoutOption,
  positionals: { min: 0, max: 0 },
});

export const version = defineSpec({
  group: "node",
  summary: "print the versions of crib, its parts and the running daemon",
  usage: "",
  details: "That no daemon runs is no failure.",
  examples: ["crib version", "crib version -o json"],
  options: outputOptions,
  positionals: { min: 0, max: 0 },
});

export const completion = defineSpec({
  group: "node",
  summary: "print the completion script for a shell",
  usage: "bash | zsh | fish | names KIND",
  details:
    "For bash, zsh or fish: commands, options, and names of containers, pods, images and volumes. The scripts ask `crib completion names` for names, which prints nothing where no daemon runs.",
  examples: [
    "source <(crib completion bash)",
    "crib completion zsh >/usr/local/share/zsh/site-functions/_crib",
    "crib completion fish >~/.config/fish/completions/crib.fish",
  ],
  options: {},
  positionals: { min: 1, max: 2 },
  verbs: ["bash", "zsh", "fish", "names"],
});

export const man = defineSpec({
  group: "node",
  summary: "write the manual pages of crib into a directory",
  usage: "DIR",
  details:
    "crib.1 and one page a command, as crib-run.1. With - the page of crib alone, on stdout.",
  examples: ["crib man /usr/local/share/man/man1 && man crib-run", "crib man - | man -l -"],
  options: {},
  positionals: { min: 1, max: 1, completes: "directory" },
});
