#!/usr/bin/env bash
# Builds Cedargate, and prints what fleets, long bodies, open streams and upgrades do to it, as Markdown.
#   bash benches/fleet.sh                     half an hour after the build
#   bash benches/fleet.sh --quick             some minutes, to try a change; not for the record
#   bash benches/fleet.sh --before PROGRAM    an earlier build too, to compare the CPU of a request with
#   bash benches/fleet.sh --only targets      some parts
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v wrk >/dev/null || missing+=(wrk)
command -v h2load >/dev/null || missing+=(nghttp2-client)
command -v nginx >/dev/null || [[ -x /usr/sbin/nginx ]] || missing+=(nginx-light)
command -v openssl >/dev/null || missing+=(openssl)
command -v taskset >/dev/null || missing+=(util-linux)
if ((${#missing[@]})); then
    echo "needed: apt-get install ${missing[*]}" >&2
    exit 1
fi

venv=$(bash tests/venv.sh ../benches)
cargo build --quiet --release --locked --bin cedargate
exec "$venv/bin/python" -B benches/fleet.py target/release/cedargate "$@"
