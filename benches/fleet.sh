#!/usr/bin/env bash
# Builds Cedargate, and prints what fleets, long bodies, open streams and upgrades do to it, as Markdown.
#   bash benches/fleet.sh                     half an hour after the build
#   bash benches/fleet.sh --quick             some minutes, to try a change; not for the record
#   bash benches/fleet.sh --before PROGRAM    an earlier build too, to compare the CPU of a request with
#   bash benches/fleet.sh --only targets      some parts: bodies, targets, cpu, streams, operate
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
program=target/release/cedargate
parts=bodies,targets,cpu,streams,operate
quick=() amount=()
rest=()
while (($#)); do
    case $1 in
    --only) parts=$2 && shift 2 ;;
    --quick) quick=(--quick) amount=(--upgrades 5 --reloads 20) && shift ;;
    *) rest+=("$1") && shift ;;
    esac
done

own=()
for part in ${parts//,/ }; do
    case $part in streams | operate) ;; *) own+=("$part") ;; esac
done
missed=0
if ((${#own[@]})); then
    only=$(IFS=,; echo "${own[*]}")
    "$venv/bin/python" -B benches/fleet.py "$program" --only "$only" "${quick[@]}" "${rest[@]}" || missed=1
fi
if [[ ,$parts, == *,streams,* ]]; then
    printf '\n### Open streams, decided anew\n\n'
    python3 -B benches/streams.py "$program" ${quick:+2000} || missed=1
fi
if [[ ,$parts, == *,operate,* ]]; then
    printf '\n### Upgrades and reloads under load\n\n'
    python3 -B benches/operate.py "$program" "${amount[@]}" || missed=1
fi
exit "$missed"
