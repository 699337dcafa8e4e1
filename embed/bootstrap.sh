#!/bin/sh
# Makes node_modules of the lockfile, from nothing but Node and npm. Run again it takes a few milliseconds.
set -eu
cd "$(dirname "$0")/.."

fail() {
	echo "bootstrap: $*" >&2
	exit 1
}

# A registry may be out of reach for a moment.
persist() {
	"$@" || { sleep 10 && "$@"; } || { sleep 60 && "$@"; }
}

command -v npm >/dev/null || fail "missing: node and npm (apt-get install nodejs npm)"
wanted=$(node -p 'require("./package.json").devDependencies.bun')
installed=node_modules/.bin/bun

is_wanted() {
	[ "$("$1" --version 2>/dev/null)" = "$wanted" ]
}

# Bun installs the packages, itself among them, by its own lockfile; npm only brings the first Bun.
bun=$installed
if ! is_wanted "$bun"; then
	echo "bootstrap: installing Bun $wanted"
	first=.cache/first-bun
	mkdir -p "$first"
	echo '{ "private": true }' >"$first/package.json"
	persist npm install --prefix "$first" --no-package-lock --no-audit --no-fund --loglevel=error "bun@$wanted"
	bun=$first/$installed
	is_wanted "$bun" || fail "Bun does not start; does npm's configuration forbid install scripts?"
	trap 'rm -rf "$first"' EXIT
fi

frozen=
[ ! -f bun.lock ] || frozen=--frozen-lockfile
persist "$bun" install $frozen --silent
is_wanted "$installed" || fail "$installed does not start"
