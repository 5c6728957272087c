package engine

// Settings that plans ask for and engines tell, by one name for all engines.
const (
	SettingDType        = "dtype"
	SettingQuantization = "quantization"
	SettingKVDType      = "kv_cache_dtype"
	SettingAttention    = "attention_backend"
	SettingMoE          = "moe_backend"
	SettingMaxLength    = "max_model_len"
	SettingKVTokens     = "kv_cache_tokens"
	SettingKVBlocks     = "kv_cache_blocks"
	SettingVersion      = "version"
)

// flagOfSetting names the arguments that ask for a setting.
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
	return settings
}

// ReadLog reads the effective settings that an engine writes while it starts.
func (e *Engine) ReadLog(log string) map[string]string { return map[string]string{} }

// ReadSettings reads the effective settings from the answer to one of
// Endpoints.Settings. A body of another form yields none.
func (e *Engine) ReadSettings(path string, body []byte) map[string]string { return map[string]string{} }
