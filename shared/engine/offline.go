package engine

import "strings"

// methods of quantisation that a checkpoint may carry, by the part of its
// name, the more telling ones first.
func methods() []struct{ part, method string } {
	return []struct{ part, method string }{
		{"awq", "awq"}, {"gptq", "gptq"}, {"gguf", "gguf"}, {"squeezellm", "squeezellm"}, {"marlin", "marlin"},
		{"nvfp4", "nvfp4"}, {"mxfp4", "mxfp4"}, {"fp4", "nvfp4"}, {"bitsandbytes", "bitsandbytes"}, {"bnb", "bitsandbytes"},
		{"hqq", "hqq"}, {"w8a8", "compressed-tensors"}, {"w4a16", "compressed-tensors"}, {"fp8", "fp8"},
	}
}

// offline is the method by which the checkpoint is quantised already, "" where
// it is not: as the task says, as its config says, or as its name tells.
func (m *mapping) offline() string {
	if m.model.QuantMethod != "" && m.model.QuantMethod != "none" {
		return m.model.QuantMethod
	}
	if a := m.model.Architecture; a != nil && a.QuantMethod != "" {
		return a.QuantMethod
	}
	id := strings.ToLower(m.model.ID)
	for _, known := range methods() {
		if strings.Contains(id, known.part) {
			return known.method
		}
	}
	return ""
}

// quantization is the method that the plan asks for so far.
func (m *mapping) quantization() string {
	if given, ok := m.given("quantization"); ok {
		return given
	}
	return m.args.text("quantization")
}

// dynamic asks for quantisation while the model loads. A checkpoint that is
// quantised already keeps its own.
func (m *mapping) dynamic(method string) {
	if have := m.offline(); have != "" {
		m.note("quantization %s is left out: the checkpoint is quantised by %s already", method, have)
		return
	}
	m.set("quantization", method, "quant_config")
}
