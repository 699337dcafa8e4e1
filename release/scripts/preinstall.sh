#!/bin/sh
# Two services of one node would fight for its pods.
set -e
# dpkg sets DPKG_ROOT for a root that it does not enter.
root=${DPKG_ROOT:-}
if [ -e "$root/etc/crib/installed.json" ] && [ -e "$root/usr/local/bin/crib" ]; then
	echo "crib: this node has a crib of \`crib install\`: remove it first with \`crib uninstall\` (images stay)" >&2
	exit 1
fi
