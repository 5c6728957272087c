package engine

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/proto/task"
)

// An Estimate is what a configuration needs at least of each device's memory,
// in bytes. It is a lower bound: what it refuses cannot run, what it lets pass
// may still run out.
type Estimate struct {
	Parts []Part
	// Devices that the configuration takes.
	Devices int
	// Total of the parts, and Device the memory there is; 0 is unknown.
	Total, Device int64
	// Budget is what the engine may use of the device.
	Budget int64
	// KVBytesPerToken on each device, and KVTokens that fit beside the rest.
	KVBytesPerToken, KVTokens int64
	// Fits is false only where it surely does not; Why says what is too large
	// and what would fit.
	Fits bool
	Why  string
}

// A Part is one use of memory on each device, in bytes.
type Part struct {
	Name  string
	Bytes int64
}

const gib = 1 << 30

// lowest is the width of a weight of unknown quantisation, in bytes: two bits,
// as low as checkpoints go.
const lowest = 0.25

// margin is what every engine leaves beside its own accounts: the 150 MiB that
// vLLM subtracts when it sizes its cache (gpu_worker.py), a low guess of what a
// device's context takes.
const margin = 150 << 20

// minBatch is the smallest default of the tokens of one forward pass
// (max-num-batched-tokens of vLLM, chunked-prefill-size of SGLang).
const minBatch = 2048

// Estimate computes the memory that each device needs at least. It says no only
// where the model cannot fit; deviceMemory is in bytes, 0 where unknown.
func (e *Engine) Estimate(a task.Architecture, p Plan, deviceMemory int64) Estimate {
	b := budgeting{engine: e, a: &a, plan: p, shape: shapeOf(&a)}
	est := b.estimate(deviceMemory)
	if deviceMemory <= 0 || est.Total <= est.Budget || b.offloads() {
		return est
	}
	est.Fits = false
	est.Why = b.why(est)
	return est
}

// budgeting is one estimate in the making.
type budgeting struct {
	engine *Engine
	a      *task.Architecture
	plan   Plan
	shape  shape
}

func (b *budgeting) estimate(device int64) Estimate {
	est := Estimate{Devices: b.plan.World.Size, Device: device, Budget: b.budget(device), Fits: true, KVBytesPerToken: b.kvPerToken()}
	weights := int64(b.weights())
	cache := est.KVBytesPerToken * b.kvTokens()
	est.Parts = []Part{{"weights", weights}, {"activations", int64(b.activations())}, {"KV cache", cache}, {"context", margin}}
	for _, part := range est.Parts {
		est.Total += part.Bytes
	}
	if left := est.Budget - est.Total + cache; est.KVBytesPerToken > 0 && left > 0 {
		est.KVTokens = left / est.KVBytesPerToken
	}
	return est
}

// budget is the share of a device that the engine may fill.
func (b *budgeting) budget(device int64) int64 {
	if b.engine.Name() != VLLM || b.text("kv-cache-memory-bytes") != "" {
		return device
	}
	share := 0.0
	for _, text := range []string{b.text("gpu-memory-utilization"), b.defaultOf("gpu-memory-utilization")} {
		if f, err := strconv.ParseFloat(text, 64); err == nil && f > 0 && f <= 1 && share == 0 {
			share = f
		}
	}
	if share == 0 {
		share = 1
	}
	return int64(float64(device) * share)
}

// weights of the fullest device, in bytes.
func (b *budgeting) weights() float64 {
	s, w := b.shape, b.plan.World
	tp, attention, experts := float64(w.TP), float64(w.WeightShards), float64(w.ExpertShards)
	if b.engine.Name() == LlamaCpp {
		tp, attention, experts = float64(w.Size), float64(w.Size), float64(w.Size)
	}
	linear, routed, plain := b.precision()
	// Heads of keys and values are not cut below one.
	kv := s.keyValue / math.Min(attention, float64(max(b.a.KVHeads, 1)))
	layer := (s.query+s.output)/attention*linear + kv*linear + s.shared*plain
	dense := s.denseLayers * s.dense / tp * linear
	moe := s.moeLayers * (s.experts/experts*routed + s.sharedExperts/tp*linear + float64(b.a.Hidden*b.a.Experts)*plain)
	bytes := (s.denseLayers+s.moeLayers)*layer + dense + moe
	embeddings := s.embeddings / tp * plain
	if total := float64(b.a.WeightBytes); total > 0 && !b.converts() {
		// The files say how large the whole is, and the shape how it is cut. A
		// folder may hold the same weights twice, so more does not count.
		if whole := b.whole(); whole > total {
			bytes, embeddings = bytes*total/whole, embeddings*total/whole
		}
	} else if b.a.ParameterCount > 0 {
		counted := *b.a
		counted.ParameterCount = 0
		if byShape := Parameters(&counted); byShape > 0 {
			scale := float64(b.a.ParameterCount) / float64(byShape)
			bytes, embeddings = bytes*scale, embeddings*scale
		}
	}
	return b.stage(bytes, embeddings)
}

// whole is the size of all weights as the checkpoint keeps them, in bytes.
func (b *budgeting) whole() float64 {
	s := b.shape
	linear, routed, plain := b.precision()
	layers := s.denseLayers + s.moeLayers
	return layers*((s.query+s.keyValue+s.output)*linear+s.shared*plain) + s.denseLayers*s.dense*linear +
		s.moeLayers*(s.experts*routed+s.sharedExperts*linear+float64(b.a.Hidden*b.a.Experts)*plain) + s.embeddings*plain
}

// stage is the part of the fullest pipeline stage: layers are not cut, and the
// embeddings lie on the first and the last.
func (b *budgeting) stage(layers, embeddings float64) float64 {
	pp := b.plan.World.PP
	if pp <= 1 || b.engine.Name() == LlamaCpp {
		return layers + embeddings
	}
	n := float64(b.a.Layers)
	share := math.Ceil(n/float64(pp)) / n
	if b.a.Layers%pp != 0 {
		return layers * share // the outer stages may hold fewer layers
	}
	if b.a.TiedEmbeddings {
		return layers*share + embeddings
	}
	return layers*share + embeddings/2
}

// precision is the bytes of one parameter: of the layers, of the routed
// experts, and of what is never quantised (embeddings, norms, the router).
func (b *budgeting) precision() (linear, routed, plain float64) {
	plain = 2 // engines load float32 checkpoints as float16 unless told otherwise
	if dtype := b.text("dtype"); dtype == "float32" || dtype == "float" {
		plain = 4
	}
	linear, routed = plain, plain
	if b.engine.Name() == LlamaCpp && b.a.QuantBits == 0 {
		return lowest, lowest, lowest // a GGUF file may hold anything
	}
	method := b.method()
	switch {
	case method == "mxfp4" || b.a.QuantMethod == "mxfp4":
		routed = 0.5
		if b.a.QuantBits == 0 || b.a.QuantMethod != "mxfp4" {
			linear = 0.5
		}
	case b.a.QuantBits > 0:
		linear = float64(b.a.QuantBits) / 8
		routed = linear
	case strings.Contains(method, "fp8") || strings.Contains(method, "int8"):
		linear, routed = 1, 1
	case strings.Contains(method, "4"):
		linear, routed = 0.5, 0.5
	case b.unknownQuantisation(method):
		linear, routed = lowest, lowest
	}
	if method == "w4afp8" {
		routed = 0.5
	}
	return linear, routed, plain
}

// method is the quantisation that the plan asks for, in small letters.
func (b *budgeting) method() string {
	if q, ok := b.plan.Options["quant_config"].(map[string]any); ok {
		algorithm, _ := q["quant_algo"].(string)
		return strings.ToLower(algorithm)
	}
	return b.text("quantization")
}

// unknownQuantisation says whether weights are quantised to an unknown width.
func (b *budgeting) unknownQuantisation(method string) bool {
	m := mapping{model: b.plan.Model}
	return method != "" || b.a.QuantMethod != "" || m.offline() != ""
}

// converts says whether weights are kept otherwise than in their files.
func (b *budgeting) converts() bool {
	dtype := b.text("dtype")
	return b.method() != "" && b.a.QuantMethod == "" || dtype == "float32" || dtype == "float" ||
		b.a.DType == "float32"
}

// activations of one forward pass, in bytes: the residual stream with its
// normalised copy, and the widest tensor of a dense layer. Mixtures of experts
// and other layers count the stream only.
func (b *budgeting) activations() float64 {
	if b.engine.Name() == LlamaCpp {
		return 0
	}
	tokens := float64(minBatch)
	for _, flag := range []string{"max-num-batched-tokens", "chunked-prefill-size", "max-num-tokens"} {
		if n, ok := b.engine.amount(b.text(flag)); ok && n > 0 {
			tokens = n
		}
	}
	width := 2 * float64(b.a.Hidden)
	if b.a.Experts == 0 {
		width += 2 * float64(b.a.Intermediate) / float64(b.plan.World.TP)
	}
	return math.Min(tokens, maxCount) * width * 2
}

// kvPerToken is the cache of one token on one device, in bytes: two vectors a
// head and layer, or one latent vector where attention is latent.
func (b *budgeting) kvPerToken() int64 {
	w := b.plan.World
	layers := math.Ceil(float64(b.a.Layers) / float64(max(w.PP, 1)))
	var perLayer float64
	if b.a.KVLoraRank > 0 {
		perLayer = float64(b.a.KVLoraRank + b.a.RopeHeadDim)
	} else {
		heads := math.Max(1, float64(b.a.KVHeads)/float64(w.KVShards))
		perLayer = 2 * heads * float64(b.a.HeadDim)
	}
	return int64(layers * perLayer * b.kvBytes() / float64(max(w.TokenShards, 1)))
}

// kvBytes is the width of one cached number.
func (b *budgeting) kvBytes() float64 {
	dtype := b.text("kv-cache-dtype") + b.text("cache-type-k")
	if cache, ok := b.plan.Options["kv_cache_config"].(map[string]any); ok {
		dtype, _ = cache["dtype"].(string)
	}
	switch {
	case strings.Contains(dtype, "8"):
		return 1
	case strings.Contains(dtype, "4") && !strings.Contains(dtype, "fp8"), strings.Contains(dtype, "3"), strings.Contains(dtype, "turbo"):
		return 0.5
	case strings.HasSuffix(dtype, "32"):
		return 4
	}
	return 2
}

// kvTokens that the cache has to hold before the engine starts. vLLM refuses to
// start where one request of the longest length does not fit; llama.cpp
// allocates the whole context it is asked for. The others shrink it.
func (b *budgeting) kvTokens() int64 {
	if b.a.SlidingWindow > 0 {
		return 0 // most layers forget
	}
	length := 0.0
	switch b.engine.Name() {
	case VLLM:
		text := b.text("max-model-len")
		n, ok := b.engine.amount(text)
		switch {
		case ok && n > 0:
			length = n
		case text == "":
			length = float64(b.a.MaxPositions)
		}
	case LlamaCpp:
		if n, ok := b.engine.amount(b.text("ctx-size")); ok && n > 0 {
			length = n
		}
	}
	return int64(math.Min(length, maxCount))
}

// offloads says whether the engine may keep weights or cache off the device, so
// that nothing is sure.
func (b *budgeting) offloads() bool {
	for _, a := range b.plan.Arguments {
		key, value, _ := strings.Cut(a.key, "=")
		if strings.Contains(key, "offload") && value != "0" && value != "false" {
			return true
		}
	}
	if b.engine.Name() != LlamaCpp {
		return false
	}
	layers := b.text("n-gpu-layers")
	n, err := strconv.Atoi(layers)
	return layers != "all" && (err != nil || n < b.a.Layers)
}

func (b *budgeting) text(flag string) string {
	words, ok := b.plan.Argument(b.canonical(flag))
	if !ok || len(words) == 0 {
		return ""
	}
	return strings.Join(words, " ")
}

func (b *budgeting) canonical(flag string) string {
	if f, _ := b.engine.flags.find(flag); f != nil {
		return f.Name
	}
	return flag
}

func (b *budgeting) defaultOf(flag string) string {
	if f, _ := b.engine.flags.find(flag); f != nil {
		return f.Default
	}
	return ""
}

// String says what is needed, where, and of what there is.
func (e Estimate) String() string {
	var parts []string
	for _, part := range e.Parts {
		if part.Bytes > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", part.Name, size(part.Bytes)))
		}
	}
	where := "its device"
	if e.Devices > 1 {
		where = fmt.Sprintf("each of %d devices", e.Devices)
	}
	text := fmt.Sprintf("needs at least %s on %s (%s)", size(e.Total), where, strings.Join(parts, ", "))
	if e.Device > 0 {
		text += fmt.Sprintf(", and %s may be used of %s", size(e.Budget), size(e.Device))
	}
	return text
}

func (b *budgeting) why(est Estimate) string {
	text := est.String()
	if n := b.enough(est.Device); n > 0 {
		text += fmt.Sprintf("; tp %d would fit", n)
	}
	return text
}

// enough is the smallest power of two of tensor parallelism that would fit, 0
// where none does.
func (b *budgeting) enough(device int64) int {
	for tp := b.plan.World.TP * 2; tp <= MaxWorld && b.a.Heads%tp == 0; tp *= 2 {
		wider := *b
		factor := tp / b.plan.World.TP
		w := &wider.plan.World
		w.TP, w.WeightShards, w.ExpertShards, w.KVShards = tp, w.WeightShards*factor, w.ExpertShards*factor, w.KVShards*factor
		if est := wider.estimate(device); est.Total <= est.Budget {
			return tp
		}
	}
	return 0
}

// size writes bytes for people.
func size(bytes int64) string { return fmt.Sprintf("%.1f GiB", float64(bytes)/gib) }
