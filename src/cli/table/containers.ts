import {
  anyNumber,
  defineSpec,
  objectListOptions,
  outputOptions,
  stopSeconds,
  targetOptions,
} from "./spec.ts";

export const attach = defineSpec({
  group: "containers and pods",
  summary: "connect to a running container's main process",
  usage: "CONTAINER",
  details: [
    "Shows what the program writes from now on and gives it what is typed, where the container was made with stdin",
    "(`crib run -i`). Of a container with a terminal every key goes to the program, Ctrl-C too; the keys to leave",
    "are ctrl-p ctrl-q. Without a terminal Ctrl-C leaves. The program goes on either way; returns its exit code",
    "if it ends, and 0 after the keys.",
  ].join(" "),
  examples: [
    "crib attach web",
    "crib attach --no-stdin web | grep error",
    "crib attach --detach-keys ctrl-],q web",
  ],
  options: {
    "no-stdin": { kind: "flag", help: "only look" },
    "detach-keys": {
      kind: "value",
      argument: "KEYS",
      help: `keys to leave (ctrl-p,ctrl-q), or none`,
    },
  },
  positionals: { min: 1, max: 1, completes: "container" },
  runsProgram: true,
});

export const events = defineSpec({
  group: "containers and pods",
  summary: "print events of containers and pods as they happen",
  usage: "",
  details: [
    "One line each, until Ctrl-C: time, event, pod or container, id, name, the pod's namespace and name, and how a",
    "container ended. With -o json one object a line, as the runtime returns it.",
  ].join(" "),
  examples: [
    "crib events",
    "crib events | grep --line-buffered stopped",
    "crib events -o json | jq --unbuffered -r .containerId",
  ],
  options: outputOptions,
  positionals: { min: 0, max: 0 },
});

export const exec = defineSpec({
  group: "containers and pods",
  summary: "run a command in a running container and wait for it",
  usage: "CONTAINER COMMAND [ARGUMENT...]",
  details: [
    "Exits with the command's exit code. Its output comes as it is written, however much it is. With -it every key",
    "goes to the command, Ctrl-C too. Without a terminal Ctrl-C ends crib alone: the command loses its pipes.",
    "Only --timeout kills it (and then prints at most 15 MiB, when it has ended).",
  ].join(" "),
  examples: [
    "crib exec web ls -l /",
    "crib exec -it web sh",
    "tar c site | crib exec -i web tar x -C /srv",
    "crib exec --timeout 5 web sh -c 'echo $HOSTNAME'",
  ],
  options: {
    interactive: { kind: "flag", short: "i", help: "give the command this stdin" },
    tty: { kind: "flag", short: "t", help: "give the command a terminal" },
    timeout: { kind: "value", argument: "SECONDS", help: "kill the command after this time" },
  },
  absent: {
    env: "crib exec CONTAINER env NAME=VALUE COMMAND",
    e: "crib exec CONTAINER env NAME=VALUE COMMAND",
    workdir: "crib exec CONTAINER sh -c 'cd DIR && COMMAND'",
    w: "crib exec CONTAINER sh -c 'cd DIR && COMMAND'",
    user: "commands are the container's user; its su or setpriv is another",
    u: "commands are the container's user; its su or setpriv is another",
    detach: "crib exec CONTAINER sh -c 'COMMAND &'",
    d: "crib exec CONTAINER sh -c 'COMMAND &'",
    privileged: "commands have the container's privileges",
  },
  positionals: { min: 2, max: anyNumber, commandAfter: 1, completes: "container" },
  runsProgram: true,
});

export const inspect = defineSpec({
  group: "containers and pods",
  summary: "print details of a container, a pod or an image as JSON",
  usage: "NAME|ID",
  details: "Looks for a container, then a pod, then an image; --type asks for one of them.",
  examples: [
    "crib inspect web",
    "crib inspect --type pod web | jq -r .status.network.ip",
    "crib inspect docker.io/library/alpine:3",
  ],
  options: {
    type: {
      kind: "value",
      argument: "TYPE",
      help: "container, pod or image",
      choices: ["container", "pod", "image"],
    },
  },
  absent: {
    format: "what is printed is JSON, which jq reads",
    f: "what is printed is JSON, which jq reads",
  },
  positionals: { min: 1, max: 1, completes: "target" },
});

export const logs = defineSpec({
  group: "containers and pods",
  summary: "print what a container wrote",
  usage: "CONTAINER",
  details: "Reads the log file on this node: stdout goes to stdout, stderr to stderr.",
  examples: [
    "crib logs web",
    "crib logs -f --tail 10 web",
    "crib logs --since 10m --timestamps web",
    "crib logs --previous web",
    "crib logs web 2>/dev/null | wc -l",
  ],
  options: {
    follow: { kind: "flag", short: "f", help: "go on until the container ends or Ctrl-C" },
    tail: { kind: "value", short: "n", argument: "N", help: "only the last N lines (all)" },
    since: { kind: "value", argument: "TIME", help: "only from 10m ago, or 2026-01-01T08:00:00Z" },
    until: { kind: "value", argument: "TIME", help: "only until then, in the same forms" },
    timestamps: { kind: "flag", short: "t", help: "put its time in front of each line" },
    previous: { kind: "flag", short: "p", help: "of the container that this one has replaced" },
  },
  positionals: { min: 1, max: 1, completes: "container" },
});

export const pods = defineSpec({
  group: "containers and pods",
  summary: "list pods",
  usage: "",
  examples: [
    "crib pods",
    "crib pods --namespace kube-system -l app=dns",
    "crib pods -q | xargs crib rm -f",
  ],
  options: {
    namespace: { kind: "value", short: "n", argument: "NAME", help: "only pods of this namespace" },
    ...objectListOptions,
  },
  positionals: { min: 0, max: 0 },
});

export const portForward = defineSpec({
  group: "containers and pods",
  summary: "reach ports of a pod from this node, until Ctrl-C",
  usage: "POD [LOCAL:]REMOTE...",
  details: [
    "Also reaches what listens on the pod's 127.0.0.1 only. Prints each address that it listens on; without LOCAL",
    "that is REMOTE here too, and an empty or zero LOCAL is any free port. A connection that fails is reported on",
    "stderr, and the others go on. Ends when it finds the pod gone.",
  ].join(" "),
  examples: [
    "crib port-forward web 8080:80",
    "crib port-forward web :80 5432",
    "crib port-forward --address 0.0.0.0 web 8080:80",
  ],
  options: {
    address: { kind: "value", argument: "IP", help: "where to listen (127.0.0.1)" },
    ...targetOptions,
  },
  positionals: { min: 2, max: 101, completes: "pod" },
});

export const ps = defineSpec({
  group: "containers and pods",
  summary: "list containers: the running ones, or all",
  usage: "",
  examples: [
    "crib ps",
    "crib ps -a --pod web",
    "crib ps -q | xargs crib stop",
    "crib ps -a -o json",
  ],
  options: {
    all: { kind: "flag", short: "a", help: "also those that are created or have ended" },
    pod: {
      kind: "value",
      short: "p",
      argument: "POD",
      completes: "pod",
      help: "only containers of this pod",
    },
    ...objectListOptions,
  },
  positionals: { min: 0, max: 0 },
});

export const restart = defineSpec({
  group: "containers and pods",
  summary: "stop containers of `crib run` and start them again",
  usage: "NAME|ID...",
  details:
    "The container keeps its id, its files and its log, the pod its address. One that has ended is started.",
  examples: ["crib restart web", "crib restart -t 0 web"],
  options: {
    time: {
      kind: "value",
      short: "t",
      argument: "SECONDS",
      help: `before SIGKILL (${stopSeconds}, or as --stop-timeout of run)`,
    },
    ...targetOptions,
  },
  positionals: { min: 1, max: anyNumber, completes: "target" },
});

export const rm = defineSpec({
  group: "containers and pods",
  summary: "remove containers or whole pods",
  usage: "NAME|ID... | --all",
  details: "Removing a pod removes its containers and, for pods of `crib run`, its logs.",
  examples: ["crib rm web", "crib rm -f web", "crib rm --all", "crib rm -f --all"],
  options: {
    force: { kind: "flag", short: "f", help: "also what runs; what is not there is no failure" },
    all: { kind: "flag", short: "a", help: "all pods" },
    ...targetOptions,
  },
  positionals: { min: 0, max: anyNumber, completes: "target" },
});

export const start = defineSpec({
  group: "containers and pods",
  summary: "start containers of `crib run` again that have ended",
  usage: "NAME|ID...",
  details:
    "The container keeps its id, its files and its log. Its restart policy is in force again, if it was stopped with `crib stop`. Pods of a kubelet are the kubelet's to start.",
  examples: ["crib start web", "crib start $(crib ps -aq)"],
  options: targetOptions,
  positionals: { min: 1, max: anyNumber, completes: "target" },
});

export const stats = defineSpec({
  group: "containers and pods",
  summary: "show what running containers use: CPU, memory, disk, network",
  usage: "[CONTAINER|POD...]",
  details: [
    "On a terminal every two seconds anew, until Ctrl-C. 100 % is one core; MEMORY is the working set; DISK is the",
    "writable layer; PIDS, IN and OUT are the whole pod's. With -o json the runtime's own response, once.",
  ].join(" "),
  examples: [
    "crib stats",
    "crib stats --no-stream web",
    "crib stats -o json | jq '.stats[].linux'",
  ],
  options: {
    ...outputOptions,
    "no-stream": { kind: "flag", help: "once" },
    ...targetOptions,
  },
  positionals: { min: 0, max: anyNumber, completes: "target" },
});

export const stop = defineSpec({
  group: "containers and pods",
  summary: "stop containers or whole pods",
  usage: "NAME|ID...",
  details:
    "A container gets its stop signal and, after the time given, SIGKILL. A pod is stopped with all its containers, and its network is taken away.",
  examples: ["crib stop web", "crib stop -t 0 --container web", "crib stop $(crib ps -q)"],
  options: {
    time: {
      kind: "value",
      short: "t",
      argument: "SECONDS",
      help: `before SIGKILL (${stopSeconds}, or as --stop-timeout of run)`,
    },
    ...targetOptions,
  },
  positionals: { min: 1, max: anyNumber, completes: "target" },
});

export const kill = defineSpec({
  group: "containers and pods",
  summary: "send a signal to containers",
  usage: "CONTAINER...",
  details:
    "SIGKILL unless --signal names another. A container that is ended so, or by its stop signal, is not started again by its restart policy.",
  examples: ["crib kill web", "crib kill -s HUP web"],
  options: {
    signal: {
      kind: "value",
      short: "s",
      argument: "SIGNAL",
      help: "as in HUP, SIGUSR1 or 10 (KILL)",
    },
  },
  positionals: { min: 1, max: anyNumber, completes: "container" },
});

export const wait = defineSpec({
  group: "containers and pods",
  summary: "wait until containers end, and print their exit codes",
  usage: "CONTAINER...",
  details: "One exit code a line, in the order of the names. Ctrl-C ends the waiting only.",
  examples: ["crib wait job", 'test "$(crib wait job)" = 0'],
  options: {},
  positionals: { min: 1, max: anyNumber, completes: "container" },
});

export const pause = defineSpec({
  group: "containers and pods",
  summary: "suspend all processes of containers",
  usage: "CONTAINER...",
  details:
    "Until `crib unpause`. They keep their memory. Commands cannot be run in a paused container; `crib stop` lets it go on first. A kubelet sees a running container.",
  examples: ["crib pause web && crib unpause web"],
  options: {},
  positionals: { min: 1, max: anyNumber, completes: "container" },
});

export const unpause = defineSpec({
  group: "containers and pods",
  summary: "resume paused containers",
  usage: "CONTAINER...",
  examples: ["crib unpause web"],
  options: {},
  positionals: { min: 1, max: anyNumber, completes: "container" },
});

export const rename = defineSpec({
  group: "containers and pods",
  summary: "give a pod of `crib run` and its container another name",
  usage: "NAME|ID NEW_NAME",
  details: "The host name stays. Pods of a kubelet cannot be renamed.",
  examples: ["crib rename web web-old"],
  options: {},
  positionals: { min: 2, max: 2, completes: "target" },
});

export const top = defineSpec({
  group: "containers and pods",
  summary: "list the processes of a container",
  usage: "CONTAINER",
  details: "As the node sees them: process and user ids are the node's, STARTED is UTC.",
  examples: ["crib top web", "crib top web -o json | jq '.[].command'"],
  options: outputOptions,
  positionals: { min: 1, max: 1, completes: "container" },
});

export const volume = defineSpec({
  group: "containers and pods",
  summary: "create, list and remove named volumes",
  usage: "create [NAME] | ls | inspect NAME... | rm NAME... | prune",
  details:
    "A named volume is a directory of this node that outlives the containers that have it (`crib run -v NAME:/path`, which makes it too). One that is empty is filled with what the image has there. What a container has, running or not, is not removed.",
  examples: [
    "crib volume create data",
    "crib run -d --name db -v data:/var/lib/db local/db:7",
    "crib volume inspect data",
    "crib volume prune --dry-run",
  ],
  options: {
    ...outputOptions,
    quiet: { kind: "flag", short: "q", help: "ls: names only, one a line" },
    label: {
      kind: "list",
      short: "l",
      argument: "NAME=VALUE",
      help: "create: a label; ls: only with this label",
    },
    force: {
      kind: "flag",
      short: "f",
      help: "rm: what is not there is no failure; prune: do not ask",
    },
    "dry-run": { kind: "flag", help: "prune: print what would go" },
  },
  positionals: { min: 1, max: 1001, completes: "volume" },
  verbs: ["create", "ls", "inspect", "rm", "prune"],
});

export const prune = defineSpec({
  group: "node",
  summary: "remove what nothing uses",
  usage: "containers | images | volumes | caches | all",
  details:
    "containers: pods of `crib run` that have ended. images: those without a name, with --all also those with one, that no container has. volumes: named ones that no container has. caches: what failed pulls have left for their next attempt. all: all of these but volumes.",
  examples: ["crib prune images --all --dry-run", "crib prune all -f", "crib prune volumes"],
  options: {
    all: { kind: "flag", short: "a", help: "images: also those with a name" },
    force: { kind: "flag", short: "f", help: "do not ask" },
    "dry-run": { kind: "flag", help: "print what would go, and remove nothing" },
  },
  positionals: { min: 1, max: 1 },
  verbs: ["containers", "images", "volumes", "caches", "all"],
});

export const cp = defineSpec({
  group: "containers and pods",
  summary: "copy files between a running container and this node",
  usage: "CONTAINER:PATH PATH|- | PATH|- CONTAINER:PATH",
  details:
    "With docker's rules: into a directory that is there, or as a name that is not there yet; a source that ends in `/.` is what is in it; a link is copied as a link, unless its name ends in a slash or -L is given. `-` is a tar stream on stdin or stdout. What the container has mounted is seen as it sees it. Nothing that it has made leads to files outside of it, or outside of the directory that is copied to. Files that come in are root's, unless -a is given. A path of this node with a colon is written `./a:b`.",
  examples: [
    "crib cp web:/etc/nginx/nginx.conf .",
    "crib cp site/. web:/usr/share/nginx/html",
    "crib cp web:/var/log - | tar t",
  ],
  options: {
    archive: { kind: "flag", short: "a", help: "keep the owners' user and group ids" },
    "follow-link": { kind: "flag", short: "L", help: "a source that is a link: what it leads to" },
    quiet: { kind: "flag", short: "q", help: "accepted as docker's: nothing is printed anyway" },
  },
  positionals: { min: 2, max: 2, completes: "file" },
});
