#!/bin/sh
# Builds the kernel with matmul_config.h as it now is, and tests it.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
flags=$(sed -n 's/^#define MATMUL_CFLAGS "\(.*\)"$/\1/p' matmul_config.h)
cc -std=gnu11 $flags -c -o "$dir/kernel.o" kernel.c
cc -std=gnu11 -O2 -o "$dir/matmul" harness.c "$dir/kernel.o" -lm
"$dir/matmul" verify
