#!/usr/bin/env bash
# Builds Cedargate, and prints what signing in costs and what a storm of sign-ins does to the data plane, as Markdown.
#   bash benches/accounts.sh     about three minutes after the build
set -euo pipefail
cd "$(dirname "$0")/.."
command -v wrk >/dev/null || { echo 'wrk is needed: apt-get install wrk' >&2; exit 1; }
cargo build --quiet --release --locked --bin cedargate
exec python3 -B benches/accounts.py target/release/cedargate "$@"
