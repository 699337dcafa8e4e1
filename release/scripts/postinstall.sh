#!/bin/sh
# Debian passes `configure` and the version before, rpm the number of versions, apk the version.
set -e
# Another root than this machine's: nothing of it runs.
[ -z "${DPKG_ROOT:-}" ] || exit 0
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	modprobe -a overlay br_netfilter 2>/dev/null || true
	sysctl -q -p /usr/lib/sysctl.d/60-crib.conf 2>/dev/null || true
	systemctl enable --quiet crib.service
	# Containers run on while the daemon is restarted. A node with a policy against starts (policy-rc.d) starts it itself.
	if [ ! -x /usr/sbin/policy-rc.d ] || /usr/sbin/policy-rc.d crib start >/dev/null 2>&1; then
		systemctl restart crib.service || echo "crib: the service did not start: see journalctl -u crib" >&2
	fi
elif [ -x /sbin/rc-update ]; then
	rc-update -q add crib default || true
fi
