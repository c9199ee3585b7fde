#!/bin/sh
# Make the base images that the Dockerfiles beside this script start from, as celeriac-conformance/base:NAME.
#
#   make_bases.sh [--debian] [NAME...]     NAME: python-3.X, redis, valkey, rabbitmq, rabbitmq4 (default: see below)
#
# A base that is there already is left alone. The public image is taken where a registry answers; elsewhere, or with
# --debian, the same comes from Debian's packages (debootstrap, root): Python 3.11, Redis 7.0 and RabbitMQ 3.10 from
# Debian 12; Python 3.13, Valkey 8.1 and RabbitMQ 4.0 from Debian 13; another Python is pyenv's, copied onto Debian 12.
# Exits with 1 when a base could not be made, after making the others.
set -u

here=$(cd "$(dirname "$0")" && pwd)
repository=celeriac-conformance
registry=unknown

say() { echo "images: $*" >&2; }

public_of() {
    case $1 in
        python-*) echo "python:${1#python-}-slim" ;;
        redis) echo redis:7.0 ;;
        valkey) echo valkey/valkey:8.1 ;;
        rabbitmq) echo rabbitmq:3.10 ;;
        rabbitmq4) echo rabbitmq:4.0 ;;
        *) say "no such base: $1"; return 1 ;;
    esac
}

suite_of() {
    case $1 in
        valkey | rabbitmq4 | python-3.13) echo trixie ;;
        *) echo bookworm ;;
    esac
}

packages_of() {
    case $1 in
        bookworm) echo python3,python3-venv,python3-pip,redis-server,rabbitmq-server ;;
        trixie) echo python3,python3-venv,python3-pip,valkey-server,rabbitmq-server ;;
    esac
}

present() { docker image inspect "$1" >/dev/null 2>&1; }

# Debian's mirror as this machine is set up to use it; empty elsewhere, and debootstrap then knows one itself.
mirror() {
    # shellcheck disable=SC1091
    [ -r /etc/os-release ] && . /etc/os-release
    [ "${ID:-}" = debian ] || return 0
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null | awk -v suite="${VERSION_CODENAME:-}" '
        $1 == "deb" { i = 2; if ($i ~ /^\[/) { while ($i !~ /\]$/) i++; i++ } if ($(i + 1) == suite) { print $i; exit } }
        $1 == "Types:" { uri = "" }
        $1 == "URIs:" { uri = $2 }
        $1 == "Suites:" { for (i = 2; i <= NF; i++) if ($i == suite && uri != "") { print uri; exit } }'
}

from_registry() {
    [ "$registry" = no ] && return 1
    if timeout 300 docker pull --quiet "$1" >/dev/null 2>&1; then
        registry=yes
        docker tag "$1" "$2"
    else
        [ "$registry" = yes ] || { registry=no; say "no registry answers: making images from Debian's packages"; }
        return 1
    fi
}

debian() {
    image=$repository/debian:$1
    present "$image" && return 0
    [ "$(id -u)" -eq 0 ] || { say "only root can make images from Debian's packages"; return 1; }
    "$here/../../scripts/install_system.sh" --require debootstrap || return 1
    folder=$(mktemp -d) || return 1
    say "making Debian $1 from packages (a minute or two)"
    # shellcheck disable=SC2046 - no mirror is no argument
    if debootstrap --variant=minbase --include="ca-certificates,$(packages_of "$1")" "$1" "$folder/debian" $(mirror) \
        >"$folder/log" 2>&1
    then
        rm -rf "$folder"/debian/var/cache/apt/archives/*.deb "$folder"/debian/var/lib/apt/lists/*
        tar -C "$folder/debian" -c . | docker import - "$image" >/dev/null
        status=$?
    else
        tail -n 20 "$folder/log" >&2
        status=1
    fi
    rm -rf "$folder"
    return $status
}

# pyenv's Python with what it needs: its own standard library and pip, nothing else that was installed into it.
from_pyenv() {
    version=${1#python-}
    root=${PYENV_ROOT:-$HOME/.pyenv}
    # shellcheck disable=SC2012 - version numbers
    tree=$(ls -d "$root/versions/$version".* 2>/dev/null | sort -V | tail -n 1)
    [ -n "$tree" ] || { say "$1: neither Debian nor pyenv on this machine has Python $version"; return 1; }
    debian bookworm || return 1
    context=$(mktemp -d) || return 1
    printf 'FROM %s/debian:bookworm\nCOPY tree /usr/local\nRUN ldconfig && python3 -c "import ssl, ctypes, sqlite3, lzma, bz2"\n' \
        "$repository" >"$context/Dockerfile"
    mkdir "$context/tree"
    tar -C "$tree" -c --exclude=__pycache__ --exclude='lib/python*/test' --exclude='lib/python*/config-*' \
        --exclude='*.a' --exclude='lib/python*/site-packages/*' --exclude='./share' . | tar -C "$context/tree" -x
    say "making Python $version from $tree"
    DOCKER_BUILDKIT=0 docker build --quiet --tag "$2" "$context" >/dev/null 2>"$context/errors"
    status=$?
    [ $status -eq 0 ] || cat "$context/errors" >&2
    rm -rf "$context"
    return $status
}

make_base() {
    target=$repository/base:$1
    public=$(public_of "$1") || return 1
    present "$target" && return 0
    from_registry "$public" "$target" && return 0
    case $1 in
        python-3.11 | python-3.13 | redis | valkey | rabbitmq | rabbitmq4)
            debian "$(suite_of "$1")" && docker tag "$repository/debian:$(suite_of "$1")" "$target" ;;
        python-*) from_pyenv "$1" "$target" ;;
    esac
}

if [ "${1:-}" = --debian ]; then
    registry=no
    shift
fi
[ $# -gt 0 ] || set -- python-3.11 redis rabbitmq valkey rabbitmq4

"$here/../../scripts/install_system.sh" --require docker || exit 1
failed=0
for name in "$@"; do
    make_base "$name" || { say "could not make $repository/base:$name"; failed=1; }
done
exit $failed
