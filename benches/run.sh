#!/usr/bin/env bash
# Builds Cedargate and the bare proxy, measures one against the other, and prints the table as Markdown.
#   bash benches/run.sh            about five minutes after the build
#   bash benches/run.sh --quick    under one
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v wrk >/dev/null || missing+=(wrk)
command -v nginx >/dev/null || [[ -x /usr/sbin/nginx ]] || missing+=(nginx-light)
command -v cmake >/dev/null || missing+=(cmake)
command -v make >/dev/null || missing+=(make)
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
command -v python3 >/dev/null || missing+=(python3)
command -v taskset >/dev/null || missing+=(util-linux)
if ((${#missing[@]})); then
    sudo=()
    if ((EUID != 0)); then sudo=(sudo); fi
    # The package of nginx would start a server on port 80; only the program is wanted.
    policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee $policy >/dev/null
        "${sudo[@]}" chmod 755 $policy
        trap '"${sudo[@]}" rm -f $policy' EXIT
    fi
    "${sudo[@]}" apt-get update >&2
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}" >&2
    if [[ $(trap -p EXIT) ]]; then
        "${sudo[@]}" rm -f $policy
        trap - EXIT
    fi
fi

# One build of both, so that both have the same dependencies with the same features.
built=$(cargo build --release --locked --bin cedargate --bench bare_pingora --message-format=json-render-diagnostics)
executable() {
    python3 -c '
import json, sys
found = [m["executable"] for m in map(json.loads, sys.stdin)
         if m["reason"] == "compiler-artifact" and m["executable"] and m["target"]["name"] == sys.argv[1]]
print(found[-1])' "$1" <<<"$built"
}
exec python3 -B benches/compare.py --cedargate "$(executable cedargate)" --bare "$(executable bare_pingora)" "$@"
