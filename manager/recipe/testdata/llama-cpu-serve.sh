#!/bin/sh
# Written by Fleetune: experiment 7 of chat
exec llama-server --model /srv/models/tiny/q4-00001-of-00002.gguf --host 127.0.0.1 --port 8000 --alias tiny --parallel 4
