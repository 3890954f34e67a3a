# Runs a private PostgreSQL until standard input closes, then removes every trace of it.
# Arguments: directory of the binaries, port.
set -u
bin=$1
port=$2
dir=$(mktemp -d "${TMPDIR:-/tmp}/cedargate-test-postgres.XXXXXX") || exit 1
cd "$dir" || exit 1
server=

clean() {
    trap - EXIT
    # Immediate shutdown: nothing here is worth saving.
    [ -z "$server" ] || { kill -QUIT "$server" 2>/dev/null; wait "$server"; }
    cd / && rm -rf "$dir"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM

# A locale other than C, so that what must not depend on it is seen to.
"$bin/initdb" -D data -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >log 2>&1 || { cat log >&2; exit 1; }
"$bin/postgres" -D data -k "$dir" -p "$port" -c listen_addresses=127.0.0.1 -c max_connections=200 \
    -c fsync=off -c synchronous_commit=off -c full_page_writes=off </dev/null >>log 2>&1 &
server=$!

tries=0
until "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ] || ! kill -0 "$server" 2>/dev/null; then
        cat log >&2
        exit 1
    fi
    sleep 0.1
done
# Another server may have been faster on this port.
grep -q 'ready to accept connections' log || { cat log >&2; exit 1; }
echo ready

cat >/dev/null
