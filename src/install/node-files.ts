import { upgradeMarkOf } from "../executable/upgrade-mark.ts";

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
}

const executable = "/usr/local/bin/crib";

export const paths = {
  executable,
  /** The one before, after an upgrade. */
  previous: "/usr/local/bin/crib.previous",
  upgradeMark: upgradeMarkOf(executable),
  libexec: "/usr/local/lib/crib",
  settle: "/usr/local/lib/crib/settle-upgrade",
  supervise: "/usr/local/lib/crib/supervise",
  supervisorPid: "/run/crib-supervise.pid",
  config: "/etc/crib/config.toml",
  /** What was installed, with digests: how a second run knows what an operator has changed. */
  record: "/etc/crib/installed.json",
  log: "/var/log/crib.log",
  systemdUnit: "/etc/systemd/system/crib.service",
  openrcScript: "/etc/init.d/crib",
} as const;

const socket = "unix:///run/crib/crib.sock";

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
        { path: paths.openrcScript, content: openrcScript, mode: 0o755, purpose: "the service" },
      ];
    case "none":
      return [
        { path: paths.supervise, content: superviseScript, mode: 0o755, purpose: "the service" },
      ];
  }
}

const systemdUnit = `[Unit]
Description=crib, a Kubernetes container runtime
After=network.target local-fs.target dbus.service
Before=kubelet.service
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStartPre=-/sbin/modprobe overlay
ExecStartPre=-${paths.settle}
ExecStart=${paths.executable} serve
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
command=${paths.executable}
command_args="serve"
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

start_pre() {
	modprobe -q overlay
	${paths.settle}
	return 0
}
`;

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
	trap 'ending=1; [ -n "$child" ] && kill -TERM $child' TERM INT
	trap '[ -n "$child" ] && kill -TERM $child' HUP
	ulimit -n 1048576 2>/dev/null
	while [ -z "$ending" ]; do
		modprobe -q overlay 2>/dev/null
		${paths.settle}
		${paths.executable} serve &
		child=$!
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

/** What other programs of the node have to be told, ready to be pasted. */
export function kubeletHints(): readonly (readonly [who: string, what: string])[] {
  return [
    ["kubelet (configuration file)", `containerRuntimeEndpoint: ${socket}`],
    ["kubelet (flag)", `--container-runtime-endpoint=${socket}`],
    ["kubeadm", `kubeadm init --cri-socket=${socket}    # and join`],
    ["k3s", `k3s agent --container-runtime-endpoint=${socket}    # and server`],
    ["k0s", `k0s worker --cri-socket=remote:${socket}`],
  ];
}

/** The files that tell the kubelets that are on this node of crib, and crib of them, for `--kubelet`. */
export function kubeletFiles(has: (path: string) => boolean): readonly NodeFile[] {
  const files: NodeFile[] = [];
  if (!has("/usr/bin/containerd") && !has("/usr/local/bin/containerd")) {
    files.push({
      path: "/etc/crib/config.toml.d/50-kubelet.toml",
      content: '[compat]\ncontainerd_socket = "/run/containerd/containerd.sock"\n',
      mode: 0o644,
      purpose: "containers and pod networks in the kubelet's /metrics/cadvisor",
    });
  }
  if (has("/usr/bin/kubelet") || has("/usr/local/bin/kubelet")) {
    files.push({
      // kubeadm's unit reads it, on Debian's relatives and on Red Hat's.
      path: has("/etc/sysconfig") ? "/etc/sysconfig/kubelet" : "/etc/default/kubelet",
      content: `KUBELET_EXTRA_ARGS=--container-runtime-endpoint=${socket}\n`,
      mode: 0o644,
      purpose: "tells the kubelet",
    });
  }
  if (has("/usr/local/bin/k3s") || has("/usr/bin/k3s") || has("/etc/rancher/k3s")) {
    files.push({
      path: "/etc/rancher/k3s/config.yaml.d/50-crib.yaml",
      content: `container-runtime-endpoint: ${socket}\n`,
      mode: 0o644,
      purpose: "tells k3s",
    });
  }
  return files;
}
