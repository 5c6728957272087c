#!/bin/sh
# Written by Fleetune: experiment 7 of chat
cat >llm-options.yaml <<'OPTIONS'
kv_cache_config: {"dtype":"fp8"}
OPTIONS
exec trtllm-serve serve org/model --host 127.0.0.1 --port 8000 --config llm-options.yaml --tp_size 2 --max_batch_size 64
