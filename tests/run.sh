#!/usr/bin/env bash
# Runs all tests. Installs what they need from Debian's packages when it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v cmake >/dev/null || missing+=(cmake)
command -v make >/dev/null || missing+=(make)
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
command -v curl >/dev/null || missing+=(curl)
command -v chromium >/dev/null || missing+=(chromium)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
command -v openssl >/dev/null || missing+=(openssl)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
if ! command -v initdb >/dev/null && ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then
    missing+=(postgresql)
fi

sudo=()
if ((EUID != 0)); then sudo=(sudo); fi
if ((${#missing[@]})); then
    if [[ " ${missing[*]} " == *' postgresql '* && ! -e /etc/postgresql-common/createcluster.conf ]]; then
        # The package would create and start a cluster of its own; the tests bring theirs.
        "${sudo[@]}" mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' | "${sudo[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    "${sudo[@]}" apt-get update
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"
fi
if ! command -v systemd-analyze >/dev/null; then
    # Without it tests/packaging leaves two checks out, and says so.
    "${sudo[@]}" apt-get update && "${sudo[@]}" apt-get install --yes --no-install-recommends systemd ||
        echo 'systemd cannot be installed: the unit is checked without systemd-analyze'
fi
if [[ ! -x target/tools/promtool ]] && ! command -v promtool >/dev/null; then
    # Only this one program of the package: installed, Prometheus would be started as a service.
    mkdir -p target/tools/download
    "${sudo[@]}" apt-get update
    (cd target/tools/download && apt-get download prometheus)
    dpkg-deb --fsys-tarfile target/tools/download/prometheus_*.deb |
        tar --extract --directory=target/tools --strip-components=3 ./usr/bin/promtool
    rm -r target/tools/download
fi

# Programs that are run for single tests: installed, their packages would start them as services.
apart=()
for program in nginx haproxy slowhttptest; do
    if [[ ! -x target/tools/root/usr/sbin/$program && ! -x target/tools/root/usr/bin/$program ]] &&
        ! PATH="$PATH:/usr/sbin" command -v "$program" >/dev/null; then
        apart+=("$program")
    fi
done
if ((${#apart[@]})); then
    mkdir -p target/tools/download/partial
    "${sudo[@]}" apt-get update
    "${sudo[@]}" apt-get install --download-only --yes --no-install-recommends \
        --option "Dir::Cache::archives=$PWD/target/tools/download" "${apart[@]}"
    for package in target/tools/download/*.deb; do
        # The libraries that are missing here too: what runs these programs looks there for them.
        dpkg-deb --extract "$package" target/tools/root
    done
    "${sudo[@]}" rm -r target/tools/download
fi
if [[ ! -x target/tools/bin/cedar ]] && ! command -v cedar >/dev/null; then
    # Cedar's own program, which decides by what `policy show` prints; compiled for its results, not for speed.
    CARGO_TARGET_DIR=target/tools/build cargo install --quiet --locked --debug --root target/tools \
        --config 'profile.dev.debug=false' cedar-policy-cli --version 4.14.1
    rm -r target/tools/build
fi

cargo test --workspace --locked "$@"
