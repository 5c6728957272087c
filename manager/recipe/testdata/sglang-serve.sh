#!/bin/sh
# Written by Fleetune: experiment 7 of chat
# Chosen in a rehearsal: the figures are those of a simulated h100-sxm, not of a real one.
# llama-3-2-1b-instruct is a name among the models of a worker: write where it is on this machine
exec python3 -m sglang.launch_server --model-path llama-3-2-1b-instruct --host 127.0.0.1 --port 8000 --mem-fraction-static 0.9 --tp-size 4
