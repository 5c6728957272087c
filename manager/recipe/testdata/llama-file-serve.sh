#!/bin/sh
# Written by Fleetune: experiment 7 of chat
exec llama-server --model /models/m.gguf --host 127.0.0.1 --port 8000 --parallel 4
