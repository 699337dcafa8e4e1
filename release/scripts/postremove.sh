#!/bin/sh
set -e
root=${DPKG_ROOT:-}
if [ -z "$root" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
# `apt purge`: images and records too.
if [ "${1:-}" = purge ]; then rm -rf "$root/var/lib/crib" "$root/etc/crib"; fi
