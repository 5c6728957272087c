#!/bin/sh
# Written by Fleetune: experiment 7 of chat
# kvcache_dtype fp8_e5m2: vLLM refuses it beside fp8 weights; fp8 (e4m3) stands in
# attention_dtype fp8: vLLM has no such setting; its attention follows dtype and the KV cache
# API_KEY comes from the secret keys: export it before
# HF_TOKEN comes from the secret hub: export it before
export NOTE='it'\''s $5 "each" 100%'
export VLLM_ATTENTION_BACKEND=FLASHINFER
exec python3 -m vllm.entrypoints.openai.api_server --model meta-llama/Llama-3.1-8B-Instruct --host 127.0.0.1 --port 8000 --served-model-name chat --quantization fp8 --dtype auto --kv-cache-dtype fp8 --tensor-parallel-size 2 --enable-prefix-caching --max-num-seqs 256
