package engine

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// Settings that plans ask for and engines tell, by one name for all engines.
const (
	SettingDType        = "dtype"
	SettingQuantization = "quantization"
	SettingKVDType      = "kv_cache_dtype"
	SettingAttention    = "attention_backend"
	SettingMoE          = "moe_backend"
	SettingMaxLength    = "max_model_len"
	SettingKVTokens     = "kv_cache_tokens" //nolint:gosec // tokens of text
	SettingKVBlocks     = "kv_cache_blocks"
	SettingSlots        = "slots"
	SettingVersion      = "version"
)

// flagsOfSettings names the arguments that ask for a setting.
func flagsOfSettings() []struct{ setting, flag string } {
	return []struct{ setting, flag string }{
		{SettingDType, "dtype"}, {SettingQuantization, "quantization"},
		{SettingKVDType, "kv-cache-dtype"}, {SettingKVDType, "cache-type-k"},
		{SettingAttention, "attention-backend"}, {SettingMoE, "moe-backend"}, {SettingMoE, "moe-runner-backend"},
		{SettingMaxLength, "max-model-len"}, {SettingMaxLength, "context-length"}, {SettingMaxLength, "max-seq-len"}, {SettingMaxLength, "ctx-size"},
	}
}

// asked lists the settings that the plan's arguments ask for.
func (m *mapping) asked() map[string]string {
	settings := map[string]string{}
	for _, s := range flagsOfSettings() {
		if text := m.args.text(s.flag); text != "" {
			settings[s.setting] = text
		}
	}
	if cache, ok := m.options["kv_cache_config"].(map[string]any); ok {
		if dtype, ok := cache["dtype"]; ok {
			settings[SettingKVDType] = fmt.Sprint(dtype)
		}
	}
	return settings
}

// A told line is one by which an engine tells a setting while it starts.
type told struct {
	setting string
	line    *regexp.Regexp
}

var startLines = sync.OnceValue(func() map[string][]told {
	compile := func(pairs ...string) []told {
		var list []told
		for i := 0; i < len(pairs); i += 2 {
			list = append(list, told{pairs[i], regexp.MustCompile(pairs[i+1])})
		}
		return list
	}
	return map[string][]told{
		VLLM: compile(
			SettingAttention, `Using (?:AttentionBackendEnum\.)?([A-Za-z0-9_ ]+?) backend(?: on V1 engine)?[.,]?(?:\s|$)`,
			SettingKVDType, `Using (\w+) data type to store kv cache`,
			SettingKVTokens, `GPU KV cache size: ([0-9,]+) tokens`,
			SettingKVBlocks, `# (?:GPU|cuda) blocks: ([0-9,]+)`,
			SettingMaxLength, `Using max model len ([0-9]+)`,
			SettingDType, `\bdtype=torch\.(\w+)`,
			SettingQuantization, `\bquantization=([\w-]+)`,
			SettingVersion, `vLLM API server version (\S+)`,
		),
		SGLang: compile(
			SettingAttention, `Attention backend not explicitly specified\. Use (\w+) backend`,
			SettingAttention, `\battention_backend='(\w+)'`,
			SettingKVDType, `\bkv_cache_dtype='(\w+)'`,
			SettingKVTokens, `max_total_num_tokens=([0-9]+)`,
			SettingMaxLength, `\bcontext_len=([0-9]+)`,
			SettingDType, `Load weight end\..*dtype=torch\.(\w+)`,
			SettingQuantization, `\bquantization='([\w-]+)'`,
		),
		TensorRT: compile(
			SettingVersion, `TensorRT-LLM version: (\S+)`,
			SettingKVTokens, `Max KV cache (?:blocks|tokens).*?([0-9]+) tokens`,
			SettingMaxLength, `max_seq_len[=: ]+([0-9]+)`,
		),
		LlamaCpp: compile(
			SettingKVTokens, `llama_kv_cache\w*: size = .*\(\s*([0-9]+) cells`,
			SettingKVDType, `llama_kv_cache\w*: size = .*K \((\w+)\)`,
			SettingMaxLength, `\bn_ctx_(?:per_seq|seq)\s*=\s*([0-9]+)`,
			SettingAttention, `\bflash_attn\s*=\s*(\w+)`,
			SettingSlots, `\bn_(?:slots|parallel|seq_max)\s*=\s*([0-9]+)`,
			SettingVersion, `\bbuild: ([0-9]+)`,
		),
	}
})

// maxStart bounds how much of a log is read for settings, in bytes: engines
// tell them while they start.
const maxStart = 256 << 10

// ReadLog reads the effective settings that an engine writes while it starts.
// Give it the log's beginning. The last line that tells a setting counts, for
// engines correct themselves.
func (e *Engine) ReadLog(log string) map[string]string {
	log = log[:min(len(log), maxStart)]
	settings := map[string]string{}
	for _, t := range startLines()[e.Name()] {
		found := t.line.FindAllStringSubmatch(log, -1)
		if len(found) == 0 {
			continue
		}
		value := strings.TrimSpace(found[len(found)-1][1])
		if plain := strings.ReplaceAll(value, ",", ""); isNumber(plain) {
			value = plain
		}
		if value != "" && value != "None" {
			settings[t.setting] = value
		}
	}
	return settings
}

func isNumber(text string) bool {
	_, err := strconv.ParseFloat(text, 64)
	return err == nil
}

// ReadSettings reads the effective settings from the answer to one of
// Endpoints.Settings. A body of another form yields none.
func (e *Engine) ReadSettings(at string, body []byte) map[string]string {
	settings := map[string]string{}
	put := func(setting string, value any) {
		switch v := value.(type) {
		case string:
			if v != "" {
				settings[setting] = v
			}
		case float64:
			settings[setting] = strconv.FormatFloat(v, 'f', -1, 64)
		}
	}
	var answer map[string]any
	if json.Unmarshal(body, &answer) != nil {
		return settings
	}
	switch path.Base(at) {
	case "version":
		put(SettingVersion, answer["version"])
	case "models":
		list, _ := answer["data"].([]any)
		if len(list) > 0 {
			first, _ := list[0].(map[string]any)
			put(SettingMaxLength, first["max_model_len"])
		}
	case "get_server_info", "server_info":
		for _, key := range []struct{ setting, key string }{
			{SettingDType, "dtype"}, {SettingQuantization, "quantization"}, {SettingKVDType, "kv_cache_dtype"},
			{SettingAttention, "attention_backend"}, {SettingMoE, "moe_runner_backend"}, {SettingMaxLength, "context_length"},
			{SettingMaxLength, "max_req_input_len"}, {SettingKVTokens, "max_total_num_tokens"}, {SettingVersion, "version"},
		} {
			if _, have := settings[key.setting]; !have {
				put(key.setting, answer[key.key])
			}
		}
	case "props":
		put(SettingVersion, answer["build_info"])
		put(SettingSlots, answer["total_slots"])
		if generation, ok := answer["default_generation_settings"].(map[string]any); ok {
			put(SettingMaxLength, generation["n_ctx"])
		}
	}
	return settings
}
