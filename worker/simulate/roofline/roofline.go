// Package roofline tells the simulated engine how long a step takes and how
// much memory a model needs on a GPU: the roofline model of Williams, Waterman
// and Patterson (2009), applied to the matrices and the attention of a decoder,
// plus the all-reduces of tensor parallelism and the host's share. It is pure:
// equal arguments give equal figures. Every constant is named, with its source,
// in shared/docs/simulated-engine.md.
package roofline

import (
	"fmt"
	"math"

	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/shared/hardware"
)

// Constants of the model.
const (
	// bandwidthShare of the published memory bandwidth is reached while weights
	// and KV cache are read.
	bandwidthShare = 0.85
	// matrixShare of the published tensor rate is reached by large matrix
	// products in 16 bits, matrixShare8 in 8 bits, expertShare by the products of
	// a mixture of experts, attentionShare by attention.
	matrixShare    = 0.68
	matrixShare8   = 0.55
	expertShare    = 0.50
	attentionShare = 0.58
	// Floors are what the kernels of one matrix, of a layer's experts and of its
	// attention take beside what they read and multiply (s), gapTime all others of
	// a layer together. More ranks do not divide them.
	matrixFloor    = 3.5e-6
	expertFloor    = 20e-6
	attentionFloor = 9.5e-6
	gapTime        = 4e-6
	// linkShare of a link's bandwidth is reached by collective operations, which
	// have a latency of their own: one switched, one over PCIe (s).
	linkShare       = 0.75
	switchedLatency = 8e-6
	hostedLatency   = 25e-6
	// launchTime is the host's for one kernel without a CUDA graph, the
	// interpreter's share included (s), and kernels those of a layer.
	launchTime      = 20e-6
	kernelsPerLayer = 14
)

// A Config is a model placed on GPUs.
type Config struct {
	GPU   hardware.GPU
	Model task.Architecture
	// TP and PP are the tensor and pipeline parallel sizes.
	TP, PP int
	// AttentionDP is how many groups share attention's work by requests and not
	// by heads (SGLang's DP attention); 1 is none.
	AttentionDP int
	// WeightBits and CacheBits are the widths of a stored weight and of a value
	// in the KV cache.
	WeightBits, CacheBits float64
	// ComputeBits is 8 where matrices are multiplied in 8 bits, else 16.
	ComputeBits int
	// GraphTokens is the largest batch, in tokens, that runs from a CUDA graph;
	// 0 is none.
	GraphTokens int
	// StepTime and SequenceTime are the host's work for a step and for each of
	// its sequences (s).
	StepTime, SequenceTime float64
}

// A Model of costs. It is read only and may be shared.
type Model struct {
	cfg   Config
	shape shape
	// rates of a GPU after their shares: FLOP/s and bytes/s.
	matrices, experts, attention, bandwidth float64
}

// New checks a placement and prepares its costs.
func New(cfg Config) (*Model, error) {
	s, err := newShape(cfg.Model)
	if err != nil {
		return nil, err
	}
	cfg.TP, cfg.PP, cfg.AttentionDP = max(1, cfg.TP), max(1, cfg.PP), max(1, cfg.AttentionDP)
	if cfg.Model.Heads%cfg.TP != 0 {
		return nil, fmt.Errorf("%d attention heads cannot be divided among %d tensor parallel ranks", cfg.Model.Heads, cfg.TP)
	}
	if cfg.PP > cfg.Model.Layers {
		return nil, fmt.Errorf("%d layers cannot be divided among %d pipeline stages", cfg.Model.Layers, cfg.PP)
	}
	m := &Model{cfg: cfg, shape: s, bandwidth: cfg.GPU.Bandwidth * bandwidthShare,
		matrices: cfg.GPU.Half * matrixShare, experts: cfg.GPU.Half * expertShare, attention: cfg.GPU.Half * attentionShare}
	if cfg.ComputeBits == 8 {
		rate := max(cfg.GPU.FP8, cfg.GPU.INT8, cfg.GPU.Half)
		m.matrices, m.experts = max(rate*matrixShare8, m.matrices), max(rate*expertShare*matrixShare8/matrixShare, m.experts)
	}
	return m, nil
}

// A Batch is the work of one step.
type Batch struct {
	// Sequences that get a token from this step.
	Sequences int
	// Decode is the number of sequences that decode, DecodeContext the sum of
	// the tokens that they look back on.
	Decode        int
	DecodeContext int
	// Prefill is the number of prompt tokens that are worked on, PrefillContext
	// the tokens in their sequences up to there, and PrefillPairs the pairs of
	// token and position that attention works on.
	Prefill        int
	PrefillContext int
	PrefillPairs   float64
	// Continued says that the host scheduled nothing before this step.
	Continued bool
}

// AddChunk adds n tokens of a prompt after those that are computed already.
func (b *Batch) AddChunk(past, n int) {
	b.Prefill += n
	b.PrefillContext += past + n
	b.PrefillPairs += float64(n)*float64(past) + float64(n)*float64(n+1)/2
}

// AddDecode adds a sequence that decodes with so many tokens before it.
func (b *Batch) AddDecode(context int) {
	b.Decode++
	b.DecodeContext += context
}

// Tokens of the step.
func (b Batch) Tokens() int { return b.Decode + b.Prefill }

// Step is the time of a step in s. Pipeline stages work on different parts of
// the batch at once, so that a step takes what one part takes in all stages.
func (m *Model) Step(b Batch) float64 {
	if b.Tokens() == 0 {
		return 0
	}
	part := m.part(b)
	gpu := m.matricesTime(part) + m.attentionTime(part) + m.reduceTime(part.Tokens()) + m.hopTime(part.Tokens())
	layers := float64(m.shape.layers)
	gpu += layers * gapTime
	if b.Tokens() > m.cfg.GraphTokens {
		// Without a graph the host launches every kernel, and the GPU waits
		// where it is faster than that.
		gpu = math.Max(gpu, layers*kernelsPerLayer*launchTime)
	}
	host := m.cfg.SequenceTime * float64(b.Sequences)
	if !b.Continued {
		host += m.cfg.StepTime
	}
	return gpu + host
}

// part is the share of the batch that one pipeline stage works on at a time.
func (m *Model) part(b Batch) Batch {
	pp := m.cfg.PP
	if pp == 1 {
		return b
	}
	up := func(n int) int { return (n + pp - 1) / pp }
	return Batch{Sequences: up(b.Sequences), Decode: up(b.Decode), DecodeContext: up(b.DecodeContext),
		Prefill: up(b.Prefill), PrefillContext: up(b.PrefillContext), PrefillPairs: b.PrefillPairs / float64(pp)}
}

// operator is the time of kernels that read and multiply: whichever takes
// longer, and what they take beside it.
func (m *Model) operator(floor, flop, rate, read float64) float64 {
	return floor + math.Max(flop/rate, read/m.bandwidth)
}

// matricesTime: all matrices are read once a step and multiplied with every
// token.
func (m *Model) matricesTime(b Batch) float64 {
	s, tp := &m.shape, float64(m.cfg.TP)
	tokens, width := float64(b.Tokens()), m.cfg.WeightBits/8
	dense := m.operator(s.matrices*matrixFloor,
		2*(s.dense*tokens+s.head*float64(b.Sequences))/tp, m.matrices, (s.dense*width+s.head*2)/tp)
	if s.experts == 0 {
		return dense
	}
	return dense + float64(s.expertLayers)*m.operator(expertFloor,
		2*float64(s.perToken)*s.expert*tokens/tp, m.experts, s.touched(tokens)*s.expert*width/tp)
}

// touched is how many experts of a layer n tokens are expected to use, each
// token choosing perToken of them evenly: E·(1 − (1 − k/E)ⁿ).
func (s *shape) touched(n float64) float64 {
	if s.experts == 0 {
		return 0
	}
	e := float64(s.experts)
	return e * (1 - math.Pow(1-float64(s.perToken)/e, n))
}

// attentionTime: decoding reads the cache of every sequence, prefill multiplies.
func (m *Model) attentionTime(b Batch) float64 {
	split := float64(m.cfg.TP)
	decode := math.Max(m.cacheBytes()*float64(b.DecodeContext)/m.bandwidth,
		m.shape.scores*float64(b.DecodeContext)/split/m.attention)
	prefill := math.Max(m.cacheBytes()*float64(b.PrefillContext)/m.bandwidth,
		m.shape.scores*b.PrefillPairs/split/m.attention)
	return float64(m.shape.layers)*attentionFloor + decode + prefill
}

// cacheBytes is what one token of context makes each GPU read.
func (m *Model) cacheBytes() float64 {
	return m.shape.cached * m.cfg.CacheBits / 8 / m.cacheSplit()
}

// cacheSplit is among how many ranks a token's cache is divided: by KV heads,
// of which each rank keeps at least one; a latent cache is divided only by
// data parallel attention.
func (m *Model) cacheSplit() float64 {
	if m.shape.shared {
		return float64(m.cfg.AttentionDP)
	}
	ranks := m.cfg.TP / min(m.cfg.AttentionDP, m.cfg.TP)
	return float64(min(ranks, kvHeads(m.cfg.Model))) * float64(min(m.cfg.AttentionDP, m.cfg.TP))
}

// reduceTime is that of two ring all-reduces of the hidden state a layer, in
// 16 bits: 2·(n−1)/n of the data passes each link.
func (m *Model) reduceTime(tokens int) float64 {
	n := float64(m.cfg.TP)
	if n == 1 {
		return 0
	}
	latency := hostedLatency
	if m.cfg.GPU.Switched {
		latency = switchedLatency
	}
	bytes := float64(tokens) * m.shape.hidden * 2
	return 2 * float64(m.shape.layers) * (latency + 2*(n-1)/n*bytes/(m.cfg.GPU.Link*linkShare))
}

// hopTime passes the hidden state from stage to stage.
func (m *Model) hopTime(tokens int) float64 {
	hops := float64(m.cfg.PP - 1)
	return hops * (hostedLatency + float64(tokens)*m.shape.hidden*2/(m.cfg.GPU.Link*linkShare))
}
