#!/usr/bin/env bash
# Builds Cedargate, and prints what decisions, requests, changes and a start cost among a million users, as Markdown.
#   bash benches/policy.sh               about twenty minutes after the build
#   bash benches/policy.sh --decisions   ten seconds: decisions alone
set -euo pipefail
cd "$(dirname "$0")/.."
command -v wrk >/dev/null || { echo 'wrk is needed: apt-get install wrk' >&2; exit 1; }
command -v nginx >/dev/null || [[ -x /usr/sbin/nginx ]] || { echo 'nginx is needed: apt-get install nginx-light' >&2; exit 1; }
cargo bench --quiet --locked --bench figures
[[ ${1:-} == --decisions ]] && exit
cargo build --quiet --release --locked --bin cedargate
python3 -B benches/breadth.py target/release/cedargate
exec python3 -B benches/scale.py target/release/cedargate --rounds 100
