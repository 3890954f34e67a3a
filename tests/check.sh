#!/usr/bin/env bash
# Runs the checks of a folder beside this file, `packaging` or `openapi`: its check.py, with the packages of its
# requirements.txt in an environment of their own. Further arguments go to check.py.
set -euo pipefail
name="$1"
shift
here="$(cd "$(dirname "$0")" && pwd)/$name"
root="$(cd "$here/../.." && pwd)"
venv="${CARGO_TARGET_DIR:-$root/target}/$name"

if ! cmp --silent "$here/requirements.txt" "$venv/installed.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/installed.txt"
fi
exec env PATH="$venv/bin:$PATH" PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" "$here/check.py" "$@"
