package roofline

import "math"

// Constants of the memory model, in bytes.
const (
	mib = 1 << 20
	// contextBytes hold the CUDA context and the kernels; peerBytes the buffers
	// for other ranks.
	contextBytes = 640 * mib
	peerBytes    = 384 * mib
	// graphBytes of one captured batch size.
	graphBytes = 8 * mib
)

// Memory is what an engine needs on each GPU, in bytes.
type Memory struct {
	// Weights of the rank with the most of them.
	Weights int64
	// Activations at the peak of the largest step, logits included.
	Activations int64
	// Graphs that are captured, and Context of the runtime.
	Graphs, Context int64
	// CachePerToken of context.
	CachePerToken float64
}

// Fixed is everything but the KV cache.
func (m Memory) Fixed() int64 { return m.Weights + m.Activations + m.Graphs + m.Context }

// Memory estimates what steps of at most so many tokens and sequences need,
// with so many captured batch sizes. Embedding and head stay at 16 bits.
func (m *Model) Memory(tokens, sequences, captured int) Memory {
	s := &m.shape
	ranks := float64(m.cfg.TP * m.cfg.PP)
	out := Memory{
		Weights:     int64((s.all()*m.cfg.WeightBits/8 + (s.head+s.embedding)*2) / ranks),
		Activations: m.activations(tokens, sequences),
		Graphs:      int64(captured) * graphBytes,
		Context:     contextBytes,
		// The stage with the most layers has the least room.
		CachePerToken: m.cacheBytes() * math.Ceil(float64(s.layers)/float64(m.cfg.PP)) / float64(s.layers),
	}
	if m.cfg.TP*m.cfg.PP > 1 {
		out.Context += peerBytes
	}
	return out
}

// activations: gate, up and their product in 16 bits, six copies of the hidden
// state, and two copies of the logits in 32 bits.
func (m *Model) activations(tokens, sequences int) int64 {
	inner := float64(m.cfg.Model.Intermediate)
	if m.cfg.Model.Experts > 1 && m.cfg.Model.MoEIntermediate > 0 {
		inner = math.Max(float64(m.cfg.Model.MoEIntermediate*(m.shape.perToken+m.cfg.Model.SharedExperts)), 0)
	}
	state := 2 * float64(tokens) * (3*inner/float64(m.cfg.TP) + 6*m.shape.hidden)
	logits := 8 * float64(sequences) * float64(m.cfg.Model.Vocabulary) / float64(m.cfg.TP)
	return int64(state + logits)
}

// WeightBytes is the size of the checkpoint as it is read.
func (m *Model) WeightBytes() int64 {
	s := &m.shape
	return int64(s.all()*m.cfg.WeightBits/8 + (s.head+s.embedding)*2)
}
