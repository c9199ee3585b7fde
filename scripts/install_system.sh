#!/bin/sh
# Install the system programs the project's own runs need, where this user may.
#
#   install_system.sh [--require] NAME...      NAME: redis, rabbitmq, node, venv, make, docker, debootstrap
#
# A part that is there already is left alone. As root on Debian or Ubuntu a missing one is installed with apt-get.
# Elsewhere a message says what to install; the exit status is then 0, or 1 with --require.
# `docker` is an engine that answers: where none does, one is installed, and started for as long as this machine runs.
set -u

require=0
if [ "${1:-}" = "--require" ]; then
    require=1
    shift
fi

package_of() {
    case $1 in
        redis) echo redis-server ;;
        rabbitmq) echo rabbitmq-server ;;
        node) echo nodejs npm ;;
        venv) echo python3-venv ;;
        make) echo make ;;
        docker) echo docker.io iptables ;;
        debootstrap) echo debootstrap ;;
        *) echo "install_system.sh: unknown part: $1" >&2; exit 2 ;;
    esac
}

present() {
    case $1 in
        redis) command -v redis-server >/dev/null 2>&1 ;;
        rabbitmq) command -v rabbitmq-server >/dev/null 2>&1 || [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] ;;
        node) command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 ;;
        venv) "${PYTHON:-python3}" -c 'import ensurepip' >/dev/null 2>&1 ;;
        make) command -v make >/dev/null 2>&1 ;;
        # A client without an engine is common: only one that answers counts, or one that can be started here.
        docker) answers || { command -v dockerd && command -v iptables; } >/dev/null 2>&1 ;;
        debootstrap) command -v debootstrap >/dev/null 2>&1 ;;
    esac
}

answers() { command -v docker >/dev/null 2>&1 && docker version >/dev/null 2>&1; }

# What has to happen after the packages are there. Published ports listen on loopback unless a container says otherwise.
start() {
    [ "$1" = docker ] || return 0
    answers && return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "No Docker engine answers, and only root can start one." >&2
        return 1
    fi
    log=${TMPDIR:-/tmp}/celeriac-dockerd.log
    echo "Starting a Docker engine (log: $log)" >&2
    PATH=$PATH:/usr/sbin:/sbin setsid dockerd --ip 127.0.0.1 --pidfile /run/celeriac-dockerd.pid \
        </dev/null >"$log" 2>&1 &
    engine=$!
    waited=0
    while ! answers; do
        waited=$((waited + 1))
        if [ "$waited" -gt 60 ] || ! kill -0 "$engine" 2>/dev/null; then
            echo "install_system.sh: the Docker engine does not start:" >&2
            tail -n 5 "$log" >&2
            return 1
        fi
        sleep 1
    done
}

start_all() {
    status=0
    for name in "$@"; do
        start "$name" || status=$require
    done
    exit "$status"
}

missing=""
for name in "$@"; do
    package=$(package_of "$name") || exit 2
    present "$name" || missing="$missing $package"
done
[ -z "$missing" ] && start_all "$@"

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing:$missing" >&2
    # A package's start-up script must not start a server: ours run on ports of their own, for the length of a test.
    policy=/usr/sbin/policy-rc.d
    placed=0
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && placed=1
    fi
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    # shellcheck disable=SC2086 - a list of package names
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } </dev/null >&2
    status=$?
    [ "$placed" -eq 1 ] && rm -f "$policy"
    [ "$status" -eq 0 ] && start_all "$@"
    echo "install_system.sh: apt-get could not install:$missing" >&2
else
    echo "Missing on this machine, and only root on Debian or Ubuntu can have it installed from here:$missing" >&2
    echo "Install it with your system's package manager, then run the same command again." >&2
fi
exit "$require"
