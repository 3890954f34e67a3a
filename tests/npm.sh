#!/usr/bin/env bash
# Makes a folder with the packages of the package-lock.json in a folder beside this file, and with that folder's scripts;
# prints where it is.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)/$1"
root="$(cd "$here/../.." && pwd)"
made="${CARGO_TARGET_DIR:-$root/target}/npm-$1"

mkdir -p "$made"
exec 9>"$made.lock"
flock 9
if ! cmp --silent "$here/package-lock.json" "$made/installed.json"; then
    cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$made/"
    (cd "$made" && npm ci --silent --ignore-scripts --no-audit --no-fund >&2)
    cp "$here/package-lock.json" "$made/installed.json"
fi
find "$here" -name '*.mjs' -exec cp {} "$made/" \;
echo "$made"
