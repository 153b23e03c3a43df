#!/bin/sh
# build.sh NAME: makes test/NAME/NAME.elf of start.s and cases.c, a multiboot program:
# 64-bit code in a 32-bit ELF file as boot loaders want it. Needs gcc and binutils.
set -eu
name=${1:?usage: build.sh vmx|svm}
cd "$(dirname "$0")/../$name"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
gcc -c -o "$out/start.o" start.s
gcc -O1 -Wall -ffreestanding -fno-pic -fno-stack-protector -fno-asynchronous-unwind-tables -mno-red-zone -mgeneral-regs-only -c -o "$out/cases.o" cases.c
ld -nostdlib -z max-page-size=4096 -T ../bare-metal/link.ld -o "$out/64.elf" "$out/start.o" "$out/cases.o"
objcopy -O elf32-i386 "$out/64.elf" "$name.elf"
strip -s "$name.elf"
