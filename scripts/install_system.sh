#!/bin/sh
# Install the system programs the project's own runs need, where this user may.
#
#   install_system.sh [--require] NAME...      NAME: redis, rabbitmq, venv, make
#
# A part that is there already is left alone. As root on Debian or Ubuntu a missing one is installed with apt-get.
# Elsewhere a message says what to install; the exit status is then 0, or 1 with --require.
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
        venv) echo python3-venv ;;
        make) echo make ;;
        *) echo "install_system.sh: unknown part: $1" >&2; exit 2 ;;
    esac
}

present() {
    case $1 in
        redis) command -v redis-server >/dev/null 2>&1 ;;
        rabbitmq) command -v rabbitmq-server >/dev/null 2>&1 || [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] ;;
        venv) "${PYTHON:-python3}" -c 'import ensurepip' >/dev/null 2>&1 ;;
        make) command -v make >/dev/null 2>&1 ;;
    esac
}

missing=""
for name in "$@"; do
    package=$(package_of "$name") || exit 2
    present "$name" || missing="$missing $package"
done
[ -z "$missing" ] && exit 0

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
    [ "$status" -eq 0 ] && exit 0
    echo "install_system.sh: apt-get could not install:$missing" >&2
else
    echo "Missing on this machine, and only root on Debian or Ubuntu can have it installed from here:$missing" >&2
    echo "Install it with your system's package manager, then run the same command again." >&2
fi
exit "$require"
