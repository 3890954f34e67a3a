#!/usr/bin/env bash
# Builds Cedargate and the bare proxy, measures them against each other and against nginx and HAProxy that enforce the
# same policy, and prints the tables as Markdown.
#   bash benches/run.sh                       a quarter of an hour after the build
#   bash benches/run.sh --quick               under two minutes, to try a change; not for the record
#   bash benches/run.sh --only TEXT,TEXT      cases with one of these in their names
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v wrk >/dev/null || missing+=(wrk)
command -v h2load >/dev/null || missing+=(nghttp2-client)
command -v strace >/dev/null || missing+=(strace)
command -v openssl >/dev/null || missing+=(openssl)
command -v nginx >/dev/null || [[ -x /usr/sbin/nginx ]] || missing+=(nginx-light)
command -v cmake >/dev/null || missing+=(cmake)
command -v make >/dev/null || missing+=(make)
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
command -v python3 >/dev/null || missing+=(python3 python3-venv)
command -v taskset >/dev/null || missing+=(util-linux)
# Rivals: who cannot have them is measured without, and told so.
rivals=()
command -v haproxy >/dev/null || [[ -x /usr/sbin/haproxy ]] || rivals+=(haproxy)
[[ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ]] || rivals+=(libnginx-mod-http-lua)
[[ -e /usr/share/lua/5.1/cjson || -e /usr/lib/x86_64-linux-gnu/lua/5.1/cjson.so ]] || rivals+=(lua-cjson)
if ((${#missing[@]} + ${#rivals[@]})); then
    sudo=()
    if ((EUID != 0)); then sudo=(sudo); fi
    # The package of nginx would start a server on port 80; only the program is wanted.
    policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee $policy >/dev/null
        "${sudo[@]}" chmod 755 $policy
        trap '"${sudo[@]}" rm -f $policy' EXIT
    fi
    install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends)
    "${sudo[@]}" apt-get update >&2
    if ((${#missing[@]})); then "${install[@]}" "${missing[@]}" >&2; fi
    for rival in "${rivals[@]}"; do
        "${install[@]}" "$rival" >&2 || echo "$rival cannot be installed" >&2
    done
    if [[ $(trap -p EXIT) ]]; then
        "${sudo[@]}" rm -f $policy
        trap - EXIT
    fi
fi

venv=$(bash tests/venv.sh tokens)
# One build of all, so that they have the same dependencies with the same features.
built=$(cargo build --release --locked --bin cedargate --bench bare_pingora --bench verify --message-format=json-render-diagnostics)
executable() {
    python3 -c '
import json, sys
found = [m["executable"] for m in map(json.loads, sys.stdin)
         if m["reason"] == "compiler-artifact" and m["executable"] and m["target"]["name"] == sys.argv[1]]
print(found[-1])' "$1" <<<"$built"
}
exec "$venv/bin/python" -B benches/compare.py --cedargate "$(executable cedargate)" --bare "$(executable bare_pingora)" \
    --verify "$(executable verify)" "$@"
