#!/usr/bin/env bash
# Fuzzes one target, or all of them in turn, for a number of seconds each (60). What is new goes to target/fuzz/grown, and
# what fails to target/fuzz/artifacts. Needs a nightly compiler and cargo-fuzz.
set -euo pipefail
cd "$(dirname "$0")/../.."

targets=(chunks forwarded head proxy_protocol settings target token)
if (($#)); then targets=("$1"); fi
seconds="${2:-60}"
for target in "${targets[@]}"; do
    mkdir -p "target/fuzz/grown/$target" "target/fuzz/artifacts/$target"
    cargo +nightly fuzz run --fuzz-dir tests/fuzz --target-dir target/fuzz --sanitizer none "$target" \
        "target/fuzz/grown/$target" "tests/fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -timeout=10 -max_len=4096 -artifact_prefix="target/fuzz/artifacts/$target/"
done
