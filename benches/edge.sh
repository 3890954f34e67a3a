#!/usr/bin/env bash
# Builds Cedargate, and prints what idle, slow and hostile clients do to it, as Markdown.
#   bash benches/edge.sh                     an hour and a half after the build
#   bash benches/edge.sh --quick             ten minutes, to try a change; not for the record
#   bash benches/edge.sh --only idle,slow    some parts: idle, slow, floods, amplification
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v slowhttptest >/dev/null || missing+=(slowhttptest)
command -v nginx >/dev/null || [[ -x /usr/sbin/nginx ]] || missing+=(nginx-light)
command -v openssl >/dev/null || missing+=(openssl)
command -v taskset >/dev/null || missing+=(util-linux)
if ((${#missing[@]})); then
    echo "needed: apt-get install ${missing[*]}" >&2
    exit 1
fi

venv=$(bash tests/venv.sh ../benches)
cargo build --quiet --release --locked --bin cedargate
exec "$venv/bin/python" -B benches/edge.py target/release/cedargate "$@"
