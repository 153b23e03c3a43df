#!/usr/bin/env bash
# Builds the default guest from Debian packages: a small Linux kernel and a busybox initramfs.
#
#   guest/build.sh [kernel|initramfs|all]        (default: all)
#
# Needs Debian 12 with its security archive, about 3 GB of disk and, on two cores, ten minutes.
# The result is bzImage and initramfs.cpio.gz beside this script; sources.txt names what they were made from.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=${WORK:-$here/.build}
what=${1:-all}
mkdir -p "$work"

need() { # need COMMAND PACKAGE...: installs packages when a command is missing
  command -v "$1" >/dev/null && return
  shift
  apt-get install -y --no-install-recommends "$@"
}

build_kernel() {
  need bc bc; need flex flex; need bison bison; need cpio cpio
  [ -e /usr/include/libelf.h ] || apt-get install -y --no-install-recommends libelf-dev
  [ -e /usr/include/openssl/opensslv.h ] || apt-get install -y --no-install-recommends libssl-dev
  [ -e /usr/src/linux-source-6.12.tar.xz ] || apt-get install -y --no-install-recommends linux-source-6.12
  rm -rf "$work/linux"
  mkdir -p "$work/linux"
  tar -xf /usr/src/linux-source-6.12.tar.xz -C "$work/linux" --strip-components=1
  cp "$here/kernel.config" "$work/linux/.config"
  make -C "$work/linux" olddefconfig
  KBUILD_BUILD_TIMESTAMP='2026-01-01' KBUILD_BUILD_USER=testudo KBUILD_BUILD_HOST=testudo \
    make -C "$work/linux" -j"$(nproc)" bzImage modules
  cp "$work/linux/arch/x86/boot/bzImage" "$here/bzImage"
}

build_initramfs() {
  need cpio cpio
  [ -e /bin/busybox ] || apt-get install -y --no-install-recommends busybox-static
  local root=$work/root
  rm -rf "$root"
  mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,etc,proc,sys,dev,tmp,root,run,mnt}
  cp /bin/busybox "$root/bin/busybox"
  cp "$here/init" "$root/init"
  chmod 755 "$root/init"
  cp -r "$here/etc/." "$root/etc/"
  need gcc gcc libc6-dev
  gcc -O2 -static -Wall -o "$root/bin/kvmrun" "$here/kvmrun/kvmrun.c" -lpthread
  strip "$root/bin/kvmrun"
  mkdir -p "$root/lib/modules"
  for module in kvm kvm-intel irqbypass; do
    find "$work/linux" -name "$module.ko" -exec cp {} "$root/lib/modules/" \;
    [ -e "$root/lib/modules/$module.ko" ] || { echo "$module.ko is missing: build the kernel first" >&2; exit 1; }
  done
  strip --strip-debug "$root"/lib/modules/*.ko 2>/dev/null || true
  (cd "$root" && find . -print0 | LC_ALL=C sort -z | cpio --null -o -H newc --owner=0:0 --reproducible 2>/dev/null) |
    gzip -9n >"$here/initramfs.cpio.gz"
}

case $what in
  kernel) build_kernel ;;
  initramfs) build_initramfs ;;
  all) build_kernel; build_initramfs ;;
  *) echo "usage: $0 [kernel|initramfs|all]" >&2; exit 2 ;;
esac

{
  echo "Built from Debian 12 packages:"
  dpkg-query -W -f '${source:Package} ${source:Version} (${Package})\n' linux-source-6.12 busybox-static libc6-dev 2>/dev/null || true
} >"$here/sources.txt"
ls -l "$here/bzImage" "$here/initramfs.cpio.gz"
