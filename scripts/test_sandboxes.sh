#!/usr/bin/env bash
# Tests sandboxes on both backends (make test-sandbox), Docker's with a real engine: the one that DOCKER_HOST names, the
# one at the usual socket, or else one of its own, which lives in a temporary folder and ends with this script.
#
# An engine of its own takes root, and Debian's packages where dockerd is not installed. Where none can be had, this says
# so and tests bubblewrap alone; where SPARRING_REQUIRED_SANDBOXES names docker, as in CI, it fails instead. What is
# tested of bubblewrap where the kernel gives no namespaces, the tests say themselves at their end.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
folder=""
engine=""

answers() { $bin/python -c 'from sparring.envs.sandbox.engine import connect; connect()' 2>/dev/null; }

end_engine() {
    if [ -n "$engine" ]; then
        kill "$engine" 2>/dev/null || true
        wait "$engine" 2>/dev/null || true
    fi
    if [ -n "$folder" ]; then
        # The engine leaves its folder of network namespaces mounted.
        grep -o " $folder/[^ ]*" /proc/self/mounts | sort -r | xargs -r -n 1 umount 2>/dev/null || true
        rm -rf --one-file-system "$folder" 2>/dev/null || true
    fi
}
trap end_engine EXIT

install_engine() {
    command -v dockerd >/dev/null && return
    command -v apt-get >/dev/null || { echo "no dockerd, and no apt-get to install docker.io with"; return 1; }
    local packages=(docker.io containerd runc iptables)
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null 2>&1 ||
        { apt-get update -qq >/dev/null 2>&1 && apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null 2>&1; } ||
        { echo "apt-get could not install ${packages[*]}"; return 1; }
}

# start_engine DRIVER: up within 20 s, or ended again.
start_engine() {
    dockerd --host "unix://$folder/docker.sock" --data-root "$folder/data" --exec-root "$folder/exec" \
        --pidfile "$folder/pid" --iptables=false --ip6tables=false --bridge=none --ip-forward=false --ip-masq=false \
        --storage-driver "$1" --exec-opt native.cgroupdriver=cgroupfs >"$folder/log" 2>&1 &
    engine=$!
    for _ in $(seq 100); do
        answers && return
        kill -0 "$engine" 2>/dev/null || break
        sleep 0.2
    done
    kill "$engine" 2>/dev/null || true
    wait "$engine" 2>/dev/null || true
    engine=""
    return 1
}

# Sets DOCKER_HOST to an engine that answers, or says on standard output why there is none.
own_engine() {
    [ "$(id -u)" = 0 ] || { echo "no Docker engine answers, and only root can start one"; return 1; }
    install_engine || return 1
    folder=$(mktemp -d "${TMPDIR:-/tmp}/sparring-docker-XXXXXX")
    export DOCKER_HOST="unix://$folder/docker.sock"
    start_engine overlay2 || start_engine vfs || { echo "dockerd did not start: $(tail -n 3 "$folder/log")"; return 1; }
}

why=""
if ! answers; then
    own_engine >/tmp/sparring-docker-why.$$ || true
    why=$(cat /tmp/sparring-docker-why.$$)
    rm -f /tmp/sparring-docker-why.$$
fi
if [ -n "$why" ]; then
    echo "Docker sandboxes can't be tested here: $why"
    case " ${SPARRING_REQUIRED_SANDBOXES:-} " in *" docker "*) exit 1 ;; esac
else
    $bin/sparring sandbox image
fi
OMP_NUM_THREADS=1 $bin/pytest -q -m "sandbox and not slow" -n 2 --durations 10 tests/envs/sandbox tests/envs/code
