#!/bin/sh
# SPDX-License-Identifier: MIT
# packages.sh: makes sure that the programs a script needs are on this machine.
# Owns: the list of Debian/Ubuntu packages and how each one is recognised.
# Needs: /bin/sh; apt-get when something is missing.
# Called by: run, check, bench and the Python behind them, with the names of what they need.
#
#   tools/packages.sh NEED...        NEED is one of: build host32 qemu clang mallocs
#
# Ends with 0 when everything is there (or was installed), with 3 when it is not; then it has
# printed the one command to type. `mallocs` is optional: what of it cannot be installed is left out,
# and said. It recognises a program by trying it, not by asking dpkg, so a
# compiler that came from elsewhere counts.
set -u

missing=
optional=
want() { # want PACKAGE: notes it once
    case " $missing " in *" $1 "*) ;; *) missing="$missing${missing:+ }$1" ;; esac
}

try_compiler() { # try_compiler COMPILER FLAGS...: does it make a program?
    printf 'int main(void) { return 0; }\n' | "$@" -x c - -o /dev/null >/dev/null 2>&1
}

need_build() {
    command -v gcc >/dev/null 2>&1 || want gcc
    command -v objcopy >/dev/null 2>&1 || want binutils
    [ -x /usr/bin/python3 ] || want python3
    [ -x /usr/bin/meson ] || want meson
    command -v ninja >/dev/null 2>&1 || want ninja-build
    try_compiler gcc || want libc6-dev
    /usr/bin/python3 -c 'import kconfiglib' >/dev/null 2>&1 || want python3-kconfiglib
}

need_host32() { try_compiler gcc -m32 || want gcc-multilib; }

need_qemu() {
    for program in qemu-system-x86_64 qemu-system-i386; do
        command -v $program >/dev/null 2>&1 || want qemu-system-x86
    done
}

need_clang() {
    command -v clang >/dev/null 2>&1 || want clang
    command -v ld.lld >/dev/null 2>&1 || want lld
    command -v llvm-ar >/dev/null 2>&1 || want llvm
    try_compiler clang -fsanitize=address,undefined || want libclang-rt-dev
}

# Others' mallocs, to be measured beside ours.
need_mallocs() {
    for pair in libmimalloc.so.2=libmimalloc2.0 libjemalloc.so.2=libjemalloc2 \
        libtcmalloc_minimal.so.4=libtcmalloc-minimal4; do
        found=
        for folder in /usr/lib/*-linux-gnu /usr/lib; do
            [ -e "$folder/${pair%%=*}" ] && found=yes
        done
        [ -n "$found" ] || optional="$optional${optional:+ }${pair#*=}"
    done
}

for need in "$@"; do
    case $need in
    build | host32 | qemu | clang | mallocs) "need_$need" ;;
    *)
        echo "packages.sh: unknown need '$need' (one of: build host32 qemu clang mallocs)" >&2
        exit 2
        ;;
    esac
done

refuse_old_meson() {
    [ -x /usr/bin/meson ] || return 0
    version=$(/usr/bin/meson --version 2>/dev/null)
    case $version in
    0.*)
        echo "Meson $version is too old: Tesela needs 1.0 or newer (Debian 12, Ubuntu 24.04)." >&2
        exit 3
        ;;
    esac
}

# As whom apt-get runs; fails when we may not.
as_root() {
    command -v apt-get >/dev/null 2>&1 || return 1
    if [ "$(id -u)" = 0 ]; then
        become=
    elif command -v sudo >/dev/null 2>&1 && sudo -n true >/dev/null 2>&1; then
        become="sudo -n"
    else
        return 1
    fi
}

# One by one: the name of one may differ in the next release.
install_optional() {
    for package in $optional; do
        if ! as_root || ! $become env DEBIAN_FRONTEND=noninteractive apt-get \
            -o DPkg::Lock::Timeout=60 install -y --no-install-recommends "$package" \
            >/dev/null 2>&1 </dev/null; then
            echo "Left out, since it is not installed: $package" >&2
        fi
    done
}

if [ -z "$missing" ]; then
    refuse_old_meson
    install_optional
    exit 0
fi

if ! command -v apt-get >/dev/null 2>&1; then
    echo "Missing on this machine (names of the Debian packages): $missing" >&2
    echo "There is no apt-get here; install them in your system's way and try again." >&2
    exit 3
fi

install="apt-get install -y --no-install-recommends $missing"
if ! as_root; then
    echo "Some packages are missing. Type this, then try again:" >&2
    echo "    sudo apt-get update && sudo $install" >&2
    exit 3
fi

log=$(mktemp) || exit 3
trap 'rm -f "$log"' EXIT
quietly() { # quietly COMMAND...: its output is shown only when it fails
    if ! "$@" >"$log" 2>&1 </dev/null; then
        tail -n 15 "$log" >&2
        echo "This failed: $*" >&2
        echo "Put it right, then try again; the packages are: $missing" >&2
        exit 3
    fi
}
echo "Installing packages: $missing"
quietly $become env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 update
quietly $become env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
    install -y --no-install-recommends $missing
refuse_old_meson
install_optional
