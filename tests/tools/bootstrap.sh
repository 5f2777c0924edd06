#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
#
# Prepares this machine: sh tests/tools/bootstrap.sh demo|lint|test|all
#
# Installs missing system packages (as root; else prints the line that does) and makes a virtual environment:
# .build/demo-venv with what the collection needs, for demo; .build/venv with nox, for the others.
# It starts no package manager if nothing is missing.
set -eu

purpose=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/.build

# All system packages: the first purpose that needs each (test needs those of demo and lint, all needs every one), a
# command that shows that it is installed, the package.
system_packages() {
    cat <<'LIST'
demo bwrap bubblewrap
demo curl curl
lint git git
lint shellcheck shellcheck
test busybox busybox
test chromium chromium
test chromedriver chromium-driver
test mksh mksh
test nc netcat-openbsd
test openssl openssl
test /usr/bin/pg_lsclusters postgresql
test ssh openssh-client
test sshd openssh-server
test sshpass sshpass
test strace strace
test sudo sudo
test wget wget
all eu-readelf elfutils
all fakeroot fakeroot
all gcc gcc
all grub-mkimage grub-common
all grub-reboot grub2-common
all /usr/lib/grub/i386-pc/grub-bios-setup grub-pc-bin
all ip iproute2
all java default-jre-headless
all gencat libc6-dev
all lz4 lz4
all make make
all mke2fs e2fsprogs
all mmdebstrap mmdebstrap
all mokutil mokutil
all qemu-img qemu-utils
all qemu-system-x86_64 qemu-system-x86
all strip binutils
all systemd-nspawn systemd-container
all zstd zstd
LIST
}

say() {
    printf '%s\n' "$*" >&2
}

missing_packages() {
    system_packages | while read -r who command package; do
        case $purpose:$who in
            all:* | test:demo | test:lint | test:test | lint:lint | demo:demo)
                PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null || printf ' %s' "$package"
                ;;
        esac
    done
}

# Python 3.10 or newer that can make virtual environments: python3 on PATH, then newer names, then those of pyenv.
find_python() {
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python3.10 \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3; do
        if "$candidate" -c "import sys$1; sys.exit(sys.version_info < (3, 10))" 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
}

missing_python() {
    if [ -z "$(find_python ', ensurepip, venv')" ]; then
        bare=$(find_python '')
        if [ -n "$bare" ]; then
            # Debian keeps venv apart from Python, in a package named after the version.
            "$bare" -c 'import sys; print(" python%d.%d-venv" % sys.version_info[:2])'
        else
            printf ' python3 python3-venv'
        fi
    fi
}

install_packages() {
    if ! command -v apt-get >/dev/null; then
        say "Missing on this machine:$1 (names of Debian's packages). Install them and try again."
        exit 1
    elif [ "$(id -u)" -ne 0 ]; then
        say "Missing on this machine. Run this line, then try again:"
        say "    sudo apt-get install$1"
        exit 1
    fi
    say "Installing system packages:$1"
    apt-get update -qq </dev/null >&2
    # The list is split into words on purpose.
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $1 </dev/null >&2
}

# Extracts promtool, which checks rules for Prometheus, from Debian's package: installing that would start a server.
# Without promtool, its tests are skipped with that reason.
fetch_promtool() {
    if command -v promtool >/dev/null || [ -x "$build/tools/promtool" ] || ! command -v apt-get >/dev/null; then
        return
    fi
    say "Fetching promtool"
    rm -rf "$build/promtool"
    mkdir -p "$build/promtool" "$build/tools"
    if (cd "$build/promtool" && apt-get download -qq -o APT::Sandbox::User=root prometheus >&2 && dpkg-deb -x ./*.deb .); then
        mv "$build/promtool/usr/bin/promtool" "$build/tools/promtool"
    else
        say "promtool could not be fetched"
    fi
    rm -rf "$build/promtool"
}

# Makes the virtual environment $1 from the requirements file $2, unless it was made from the same file.
make_venv() {
    if cmp -s "$2" "$1/requirements.txt" && "$1/bin/python" -c '' 2>/dev/null; then
        return
    fi
    python=$(find_python ', ensurepip, venv')
    if [ -z "$python" ]; then
        say "No Python 3.10 or newer with venv was found on PATH. Install one and try again."
        exit 1
    fi
    say "Making ${1#"$root"/} with $("$python" --version) ($python)"
    "$python" -m venv --clear "$1"
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$2"
    # Written last, so that an interrupted installation is repeated.
    cp "$2" "$1/requirements.txt"
}

missing="$(missing_packages)$(missing_python)"
if [ -n "$missing" ]; then
    install_packages "$missing"
fi
if [ "$purpose" = test ] || [ "$purpose" = all ]; then
    fetch_promtool
fi
if [ "$purpose" = demo ]; then
    make_venv "$build/demo-venv" "$root/requirements.txt"
    venv=$build/demo-venv
else
    make_venv "$build/venv" "$root/tests/requirements-nox.txt"
    venv=$build/venv
fi
"$venv/bin/python" "$root/tests/tools/trees.py"
