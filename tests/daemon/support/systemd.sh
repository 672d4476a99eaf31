#!/bin/sh
# Runs a systemd of its own with the unit of docs/, as process 1 in private namespaces, on a copy of this machine's root
# that is gone with it. Ends when it is killed, and everything in it.
#
#   systemd.sh FOLDER PROGRAM JARS UNIT CONFIGURATION
#
# FOLDER is for the mounts; PROGRAM becomes /usr/bin/kclpipe, and CONFIGURATION /etc/kclpipe.
set -e

# A control group of its own: its systemd would take this machine's for its own.
if [ "$1" != inside ]; then
    for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
        [ -e "$hierarchy/cgroup.procs" ] || continue
        mkdir "$hierarchy/kclpipe-$$"
        echo $$ >"$hierarchy/kclpipe-$$/cgroup.procs"
    done
    exec unshare --mount --pid --fork --kill-child --uts --ipc --cgroup sh "$0" inside "$@"
fi
folder=$2 program=$3 jars=$4 unit=$5 configuration=$6

mount -t tmpfs -o mode=755 tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
root=$folder/root
mount -t overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "$root/dev/${node%:*}" c 1 "${node#*:}"
done
ln -s /proc/self/fd "$root/dev/fd"

cp "$program" "$root/usr/bin/kclpipe"
cp "$unit" "$root/etc/systemd/system/"
mkdir -p "$root/etc/kclpipe" "$root/usr/local/share/kclpipe/jars"
cp "$configuration"/* "$root/etc/kclpipe/"
mount --bind "$jars" "$root/usr/local/share/kclpipe/jars"
chroot "$root" sh -c 'getent passwd kclpipe >/dev/null || useradd --system kclpipe'
# Nothing of this machine is started but what the unit wants.
printf '[Unit]\nDescription=Nothing\n' >"$root/etc/systemd/system/nothing.target"
hostname worker-1

cd "$root"
mkdir -p old
pivot_root . old
umount -l /old
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=nothing.target
