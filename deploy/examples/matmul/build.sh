#!/bin/sh
# Builds the kernel with the flags under tuning, everything else with fixed ones.
set -eu
cc -std=gnu11 "$@" -c -o kernel.o kernel.c
cc -std=gnu11 -O2 -o matmul harness.c kernel.o -lm
cc -std=gnu11 -O3 -o reference reference.c
