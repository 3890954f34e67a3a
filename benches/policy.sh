#!/usr/bin/env bash
# Builds Cedargate, and prints what decisions, changes and a start cost among a million users, as Markdown.
#   bash benches/policy.sh               about a quarter of an hour after the build
#   bash benches/policy.sh --decisions   ten seconds: decisions alone
set -euo pipefail
cd "$(dirname "$0")/.."
cargo bench --quiet --locked --bench figures
[[ ${1:-} == --decisions ]] && exit
cargo build --quiet --release --locked --bin cedargate
exec python3 -B benches/scale.py target/release/cedargate --rounds 100
