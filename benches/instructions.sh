#!/usr/bin/env bash
# Builds Cedargate with symbols, and prints how many instructions requests and their parts take, as Markdown.
#   bash benches/instructions.sh                   about five minutes after the build
#   bash benches/instructions.sh --only parts      or requests
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v valgrind >/dev/null || missing+=(valgrind)
command -v nginx >/dev/null || [[ -x /usr/sbin/nginx ]] || missing+=(nginx-light)
command -v taskset >/dev/null || missing+=(util-linux)
if ((${#missing[@]})); then
    echo "needed: apt-get install ${missing[*]}" >&2
    exit 1
fi

# The code of a release with names for it, beside what is released.
export CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=line-tables-only
built=$(cargo build --release --locked --target-dir "${CARGO_TARGET_DIR:-target}/profile" --bin cedargate \
    --bench bare_pingora --bench operations --message-format=json-render-diagnostics)
executable() {
    python3 -c '
import json, sys
found = [m["executable"] for m in map(json.loads, sys.stdin)
         if m["reason"] == "compiler-artifact" and m["executable"] and m["target"]["name"] == sys.argv[1]]
print(found[-1])' "$1" <<<"$built"
}
exec python3 -B benches/instructions.py --cedargate "$(executable cedargate)" --bare "$(executable bare_pingora)" \
    --operations "$(executable operations)" "$@"
