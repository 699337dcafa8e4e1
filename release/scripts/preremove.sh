#!/bin/sh
# On an upgrade (Debian: `upgrade`, rpm: 1) everything runs on. When the package goes, so does what it runs: nothing else
# on the node could stop it. Images stay.
set -e
# Another root than this machine's: nothing of it runs.
[ -z "${DPKG_ROOT:-}" ] || exit 0
case ${1:-remove} in
upgrade | deconfigure | failed-upgrade | 1) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
	/usr/bin/crib reset --yes >/dev/null 2>&1 || true
	systemctl disable --quiet --now crib.service || true
elif [ -x /sbin/rc-service ]; then
	/usr/bin/crib reset --yes >/dev/null 2>&1 || true
	rc-service -q crib stop || true
	rc-update -q del crib || true
fi
