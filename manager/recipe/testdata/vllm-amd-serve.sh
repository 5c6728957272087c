#!/bin/sh
# Written by Fleetune: experiment 7 of chat
# tiny is a name among the models of a worker: write where it is on this machine
exec python3 -m vllm.entrypoints.openai.api_server --model tiny --host 127.0.0.1 --port 8000 --max-num-seqs 64
