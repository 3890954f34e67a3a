#!/usr/bin/env bash
# Runs the checks of a folder beside this file, `packaging` or `openapi`: its check.py, with the packages of its
# requirements.txt in an environment of their own. Further arguments go to check.py.
set -euo pipefail
name="$1"
shift
tests="$(cd "$(dirname "$0")" && pwd)"
venv="$("$tests/venv.sh" "$name")"
exec env PATH="$venv/bin:$PATH" PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" "$tests/$name/check.py" "$@"
