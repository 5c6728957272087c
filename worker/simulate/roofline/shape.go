package roofline

import (
	"fmt"

	"github.com/fleetune/fleetune/proto/task"
)

// shape counts what a step multiplies and reads, from a model's architecture.
// Counts are parameters of matrices; norms and biases are left out, which are
// below a thousandth of any model here.
type shape struct {
	// dense parameters are used by every token, experts by those routed there;
	// matrices is the number of products that the dense ones are in.
	dense, expert, matrices float64
	// expertLayers × experts matrices sets of size expert each.
	expertLayers, experts, perToken int
	// head is the matrix that makes logits, embedding the one that reads tokens.
	head, embedding float64
	// scores is the work of attention: FLOP for a token and position before it.
	scores float64
	// cached is the number of values that a token leaves in the KV cache, in
	// all layers; shared says that tensor parallel ranks each keep all of them.
	cached float64
	shared bool
	layers int
	hidden float64
}

// newShape reads an architecture. It fails where one does not tell enough.
func newShape(a task.Architecture) (shape, error) {
	if a.Layers <= 0 || a.Hidden <= 0 || a.Heads <= 0 || a.Vocabulary <= 0 || a.Intermediate <= 0 && a.MoEIntermediate <= 0 {
		return shape{}, fmt.Errorf("the architecture %q lacks layers, hidden size, heads, vocabulary or intermediate size", a.Name)
	}
	s := shape{layers: a.Layers, hidden: float64(a.Hidden)}
	s.head = float64(a.Hidden) * float64(a.Vocabulary)
	if !a.TiedEmbeddings {
		s.embedding = s.head
	}
	s.attention(a)
	s.feedForward(a)
	return s, nil
}

// attention counts the projections and the cache: multi-head with or without
// grouped keys and values, or multi-head latent attention (DeepSeek-V2, 2024),
// of which the absorbed form is what engines decode with.
func (s *shape) attention(a task.Architecture) {
	h, layers := float64(a.Hidden), float64(a.Layers)
	heads, size := float64(a.Heads), float64(headDim(a))
	if a.KVLoraRank > 0 {
		latent, rope := float64(a.KVLoraRank), float64(a.RopeHeadDim)
		value := float64(a.VHeadDim)
		if value == 0 {
			value = size
		}
		query := h * heads * (size + rope)
		if a.QLoraRank > 0 {
			query = float64(a.QLoraRank) * (h + heads*(size+rope))
		}
		s.matrices += 5 * layers
		s.dense += layers * (query + h*(latent+rope) + latent*heads*(size+value) + heads*value*h)
		s.scores = layers * 2 * heads * (2*latent + rope)
		s.cached = layers * (latent + rope)
		s.shared = true
		return
	}
	kv := float64(kvHeads(a))
	s.matrices += 2 * layers // of query, key and value together, and of the output
	s.dense += layers * h * size * (2*heads + 2*kv)
	s.scores = layers * 4 * heads * size
	s.cached = layers * 2 * kv * size
}

func (s *shape) feedForward(a task.Architecture) {
	h := float64(a.Hidden)
	if a.Experts <= 1 {
		s.matrices += 2 * float64(a.Layers) // gate and up together, and down
		s.dense += float64(a.Layers) * 3 * h * float64(a.Intermediate)
		return
	}
	inner := float64(a.MoEIntermediate)
	if inner == 0 {
		inner = float64(a.Intermediate)
	}
	s.expertLayers = a.Layers - a.DenseLayers
	s.experts, s.perToken, s.expert = a.Experts, max(1, a.ExpertsPerToken), 3*h*inner
	s.matrices += 2 * float64(a.DenseLayers)
	if a.SharedExperts > 0 {
		s.matrices += 2 * float64(s.expertLayers)
	}
	s.dense += float64(a.DenseLayers) * 3 * h * float64(a.Intermediate)
	s.dense += float64(s.expertLayers) * (float64(a.SharedExperts)*s.expert + h*float64(a.Experts))
}

// all is the number of parameters without the embedding.
func (s *shape) all() float64 {
	return s.dense + float64(s.expertLayers*s.experts)*s.expert
}

// active is the number of parameters that one token is multiplied with.
func (s *shape) active() float64 {
	return s.dense + float64(s.expertLayers*s.perToken)*s.expert
}

func headDim(a task.Architecture) int {
	if a.HeadDim > 0 {
		return a.HeadDim
	}
	return a.Hidden / a.Heads
}

func kvHeads(a task.Architecture) int {
	if a.KVHeads > 0 {
		return a.KVHeads
	}
	return a.Heads
}
