# shellcheck shell=bash
# What packaging/test and packaging/rootfs share: root file systems, and commands in them. Sourced, in the repository.

target=${CARGO_TARGET_DIR:-$PWD/target}

need() { # PROGRAM...
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || { echo "$0: '$program' is not installed" >&2; exit 1; }
    done
    [ "$(id -u)" = 0 ] || { echo "$0: only root may change its root directory" >&2; exit 1; }
}

# The repositories of this machine for a release of Debian, a line each: ADDRESS SUITE COMPONENT.
repositories() { # RELEASE
    # shellcheck disable=SC2016  # apt fills these in
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
        grep " $1" | sort -u
}

# The smallest Debian, made once: target/minbase/RELEASE. It asks where this machine asks, and trusts whom it trusts.
minbase() { # RELEASE
    local root=$target/minbase/$1 part=$target/minbase/$1.part mirror
    [ -d "$root" ] && return
    mirror=$(repositories "$1" | awk -v release="$1" '$2 == release && $3 == "main" { print $1; exit }')
    [ -n "$mirror" ] || { echo "$0: this machine has no repository of $1" >&2; exit 1; }
    rm -rf "$part"
    mkdir -p "$target/minbase"
    debootstrap --variant=minbase "$1" "$part" "$mirror"
    repositories "$1" | sed 's/^/deb /' >"$part/etc/apt/sources.list"
    apt-config dump | grep '^Acquire::Check' >"$part/etc/apt/apt.conf.d/90-this-machine" || true
    trust "$part"
    rm -rf "$part"/var/cache/apt/archives/*.deb
    mv "$part" "$root"
}

# The authorities that this machine has besides Debian's; ca-certificates takes them up when it is installed there.
trust() { # ROOT
    mkdir -p "$1/usr/local/share/ca-certificates"
    find /usr/local/share/ca-certificates -name '*.crt' -exec cp {} "$1/usr/local/share/ca-certificates/" \;
}

# Runs a command in a root file system, as a container would: with /proc, /dev, the network's names, and no variables
# but these. The mounts end with it, for nobody else sees them.
inside() { # ROOT [NAME=VALUE...] COMMAND [ARG...]
    # shellcheck disable=SC2016  # the inner shell's
    unshare --mount sh -ec '
        root=$1 chroot=$2
        shift 2
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        touch "$root/etc/resolv.conf"
        mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
        exec "$chroot" "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            HOME=/root DEBIAN_FRONTEND=noninteractive "$@"
    ' inside "$1" "$(command -v chroot)" "${@:2}" </dev/null
}
