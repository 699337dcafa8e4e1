import { upgradeMarkOf } from "../executable/upgrade-mark.ts";
import { nodePaths } from "../lib/node-paths.ts";

/** What `crib install` puts on a node, as text: nothing here touches a disk. */

export const initSystems = ["systemd", "openrc", "none"] as const;
/** Who starts the daemon. `none`: a supervisor script of crib's own. */
export type InitSystem = (typeof initSystems)[number];

export interface NodeFile {
  /** Absolute, on the node. */
  readonly path: string;
  readonly content: string;
  readonly mode: number;
  /** What it is for, in a few words. */
  readonly purpose: string;
  /** Written where there is none, and never again: it is the operator's. */
  readonly isOperators?: boolean;
  /** Another program's, with our line in it: written whatever is there, with a copy of that; an uninstall leaves it. */
  readonly isOthers?: boolean;
}

const executable = "/usr/local/bin/crib";

export const paths = {
  executable,
  /** The one before, after an upgrade. */
  previous: "/usr/local/bin/crib.previous",
  upgradeMark: upgradeMarkOf(executable),
  libexec: "/usr/local/lib/crib",
  settle: "/usr/local/lib/crib/settle-upgrade",
  start: "/usr/local/lib/crib/start",
  supervise: "/usr/local/lib/crib/supervise",
  supervisorPid: "/run/crib-supervise.pid",
  config: nodePaths.config,
  /** What was installed, with digests: how a second run knows what an operator has changed. */
  record: `${nodePaths.configDir}/installed.json`,
  log: nodePaths.daemonLog,
  systemdUnit: "/etc/systemd/system/crib.service",
  openrcScript: "/etc/init.d/crib",
} as const;

/** Where the installed daemon serves. */
export const socket = `unix://${nodePaths.state}/crib.sock`;

/** Starts of an upgraded daemon that did not come to serve before the previous one is put back. */
const maxFailedStarts = 3;

/** All files but the executable, in the order in which they are written. */
export function nodeFiles(init: InitSystem, defaultConfig: string): readonly NodeFile[] {
  return [
    {
      path: paths.config,
      content: defaultConfig,
      mode: 0o644,
      purpose: "the daemon's configuration, every setting with its default",
      isOperators: true,
    },
    {
      path: "/etc/crictl.yaml",
      content: `runtime-endpoint: ${socket}\nimage-endpoint: ${socket}\n`,
      mode: 0o644,
      purpose: "where crictl finds the runtime",
      isOperators: true,
    },
    {
      path: "/etc/modules-load.d/crib.conf",
      content: "overlay\nbr_netfilter\n",
      mode: 0o644,
      purpose: "kernel modules at boot",
    },
    {
      path: "/etc/sysctl.d/60-crib.conf",
      content: sysctls.map(([name, value]) => `${name} = ${value}\n`).join(""),
      mode: 0o644,
      purpose: "forwarding, and bridged packets through the node's rules",
    },
    {
      path: paths.settle,
      content: settleScript,
      mode: 0o755,
      purpose:
        "before each start: puts the previous executable back when an upgrade does not serve",
    },
    ...serviceFiles(init),
  ];
}

/** Kernel parameters that pods' networks need. */
export const sysctls = [
  ["net.ipv4.ip_forward", "1"],
  ["net.bridge.bridge-nf-call-iptables", "1"],
  ["net.bridge.bridge-nf-call-ip6tables", "1"],
] as const;

function serviceFiles(init: InitSystem): readonly NodeFile[] {
  switch (init) {
    case "systemd":
      return [
        { path: paths.systemdUnit, content: systemdUnit, mode: 0o644, purpose: "the service" },
      ];
    case "openrc":
      return [
        startFile,
        { path: paths.openrcScript, content: openrcScript, mode: 0o755, purpose: "the service" },
      ];
    case "none":
      return [
        startFile,
        { path: paths.supervise, content: superviseScript, mode: 0o755, purpose: "the service" },
      ];
  }
}

const systemdUnit = `[Unit]
Description=crib, a Kubernetes container runtime
After=network.target local-fs.target dbus.service systemd-modules-load.service systemd-sysctl.service
Before=kubelet.service k3s.service k3s-agent.service rke2-server.service rke2-agent.service k0scontroller.service k0sworker.service
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStartPre=-/sbin/modprobe overlay
ExecStartPre=-${paths.settle}
ExecStart=${paths.executable} serve
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=1
# Containers and their monitors outlive the daemon.
KillMode=process
Delegate=yes
OOMScoreAdjust=-999
TasksMax=infinity
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TimeoutStartSec=180
TimeoutStopSec=90

[Install]
WantedBy=multi-user.target
`;

const openrcScript = `#!/sbin/openrc-run
description="crib, a Kubernetes container runtime"
supervisor=supervise-daemon
command=${paths.start}
extra_started_commands="reload"
output_log=${paths.log}
error_log=${paths.log}
respawn_delay=1
respawn_max=0
rc_ulimit="-n 1048576 -c unlimited"
retry="TERM/90/KILL/5"

depend() {
	need localmount
	after net cgroups
	before kubelet k3s
}

reload() {
	ebegin "Reloading the configuration of crib"
	${paths.executable} config reload
	eend $?
}
`;

/** How long a version that has just been put in place may take to serve, where no service manager limits it. */
const startSeconds = 180;

/** supervise-daemon runs no start_pre when it starts a daemon again; so the daemon's command is this. */
const startScript = `#!/bin/sh
# Becomes the daemon.
modprobe -q overlay 2>/dev/null
${paths.settle}
mark=${paths.upgradeMark}
if [ -e "$mark" ]; then
	# The executable is new and has not served yet. If it hangs it is killed, and settle-upgrade counts one more start.
	starts=$(cat "$mark" 2>/dev/null)
	daemon=$$
	(
		waited=0
		while kill -0 "$daemon" 2>/dev/null && [ "$(cat "$mark" 2>/dev/null)" = "$starts" ]; do
			[ "$waited" -ge ${startSeconds} ] && kill -KILL "$daemon"
			sleep 1
			waited=$((waited + 1))
		done
	) </dev/null >/dev/null 2>&1 &
fi
exec ${paths.executable} serve
`;

const startFile: NodeFile = {
  path: paths.start,
  content: startScript,
  mode: 0o755,
  purpose: "what the service starts",
};

/** How long the supervisor lets a daemon that is to end take; and one that has never served. */
const stopSeconds = 60;
const stopUnprovenSeconds = 5;

/** Plain sh: it has to work when the executable does not. */
const settleScript = `#!/bin/sh
# An upgrade leaves its mark until the new daemon serves. When that has not come about in ${maxFailedStarts} starts, the previous
# executable is put back.
mark=${paths.upgradeMark}
[ -e "$mark" ] || exit 0
starts=$(cat "$mark" 2>/dev/null)
case $starts in '' | *[!0-9]*) starts=0 ;; esac
if [ "$starts" -ge ${maxFailedStarts} ] && [ -e ${paths.previous} ]; then
	echo "crib: the new version did not come to serve in ${maxFailedStarts} starts: back to the previous one" >&2
	ln -f ${paths.previous} ${paths.executable}.back && mv -f ${paths.executable}.back ${paths.executable} && rm -f "$mark"
else
	echo $((starts + 1)) >"$mark.new" && mv -f "$mark.new" "$mark"
fi
sync
`;

const superviseScript = `#!/bin/sh
# Keeps \`crib serve\` running on a node without systemd and OpenRC. Start it at boot, as from /etc/rc.local:
#   ${paths.supervise} start
pidfile=${paths.supervisorPid}
running() { [ -e "$pidfile" ] && grep -qa ${paths.supervise} "/proc/$(cat $pidfile)/cmdline" 2>/dev/null; }
case $1 in
start)
	running && exit 0
	setsid "$0" run </dev/null >>${paths.log} 2>&1 &
	;;
stop)
	running || exit 0
	pid=$(cat $pidfile)
	kill -TERM "$pid"
	while [ -e "/proc/$pid" ]; do sleep 0.1; done
	;;
restart)
	if running; then kill -HUP "$(cat $pidfile)"; else exec "$0" start; fi
	;;
status)
	running
	;;
run)
	echo $$ >$pidfile
	child=
	# Ends the daemon, one that hangs by force. A pid is the daemon's as long as it is a child of this shell.
	end() {
		[ -n "$1" ] || return
		kill -TERM "$1"
		limit=${stopSeconds}
		case $(cat ${paths.upgradeMark} 2>/dev/null) in [1-9]*) limit=${stopUnprovenSeconds} ;; esac
		(
			waited=0
			while grep -q "^PPid:[[:space:]]*$$\\$" "/proc/$1/status" 2>/dev/null; do
				[ "$waited" -ge "$limit" ] && kill -KILL "$1"
				sleep 1
				waited=$((waited + 1))
			done
		) </dev/null >/dev/null 2>&1 &
	}
	ending=
	trap 'ending=1; end "$child"' TERM INT
	trap 'end "$child"' HUP
	ulimit -n 1048576 2>/dev/null
	while [ -z "$ending" ]; do
		${paths.start} &
		child=$!
		[ -n "$ending" ] && end "$child"
		# A signal ends wait, not the child.
		while kill -0 $child 2>/dev/null; do wait $child; done
		child=
		[ -z "$ending" ] && sleep 1
	done
	rm -f $pidfile
	;;
*)
	echo "usage: $0 start|stop|restart|status" >&2
	exit 2
	;;
esac
`;
