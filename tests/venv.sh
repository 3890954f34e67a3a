#!/usr/bin/env bash
# Makes an environment with the packages in the requirements.txt of a folder, seen from here, and prints where it is.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
here="$(cd "$root/tests/$1" && pwd)"
venv="${CARGO_TARGET_DIR:-$root/target}/$(basename "$here")"

mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9
if ! cmp --silent "$here/requirements.txt" "$venv/installed.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        --requirement "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$venv/installed.txt"
fi
echo "$venv"
