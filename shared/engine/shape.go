package engine

import (
	"strings"

	"github.com/fleetune/fleetune/proto/task"
)

// shape counts the parameters of a model by part.
type shape struct {
	embeddings float64 // input and output
	// of one layer each
	query, keyValue, output float64 // attention
	shared                  float64 // what no parallelism cuts: norms, the router, latent projections
	dense                   float64 // the dense feed-forward network
	experts                 float64 // all routed experts
	sharedExperts           float64
	denseLayers, moeLayers  float64
}

// shapeOf follows the models' own definitions: grouped-query attention
// (Ainslie et al. 2023), gated feed-forward networks of three matrices
// (Shazeer 2020) save in families that have two, multi-head latent attention
// and shared experts (DeepSeek-V2, 2024).
func shapeOf(a *task.Architecture) shape {
	h, heads, kv, d := float64(a.Hidden), float64(a.Heads), float64(a.KVHeads), float64(a.HeadDim)
	s := shape{embeddings: float64(a.Vocabulary) * h, denseLayers: float64(a.Layers), shared: 2 * h}
	if !a.TiedEmbeddings {
		s.embeddings *= 2
	}
	if a.KVLoraRank > 0 {
		rank, rope, v := float64(a.KVLoraRank), float64(a.RopeHeadDim), float64(a.VHeadDim)
		if v == 0 {
			v = d
		}
		s.query = h * heads * (d + rope)
		if q := float64(a.QLoraRank); q > 0 {
			s.query = q * heads * (d + rope)
			s.shared += h * q
		}
		s.shared += h * (rank + rope)
		s.keyValue = 0
		s.output = rank*heads*(d+v) + heads*v*h
	} else {
		s.query, s.keyValue, s.output = h*heads*d, 2*h*kv*d, heads*d*h
	}
	matrices := 3.0
	if ungated(a.Name) {
		matrices = 2
	}
	s.dense = matrices * h * float64(a.Intermediate)
	if a.Experts > 0 {
		one := matrices * h * float64(a.MoEIntermediate)
		s.experts = float64(a.Experts) * one
		s.sharedExperts = float64(a.SharedExperts) * one
		s.denseLayers = float64(a.DenseLayers)
		s.moeLayers = float64(a.Layers - a.DenseLayers)
	}
	return s
}

// ungated families have two matrices in the feed-forward network.
func ungated(name string) bool {
	name = strings.ToLower(name)
	for _, family := range []string{"gpt2", "optfor", "bloom", "falcon", "gptneox", "gptj", "phiforcausal", "starcoder2", "gptbigcode"} {
		if strings.HasPrefix(name, family) {
			return true
		}
	}
	return false
}

// Parameters counts the model's parameters: as the checkpoint says, or by its
// shape.
func Parameters(a *task.Architecture) int64 {
	if a.ParameterCount > 0 {
		return a.ParameterCount
	}
	s := shapeOf(a)
	layers := s.denseLayers + s.moeLayers
	router := float64(a.Hidden) * float64(a.Experts)
	total := s.embeddings + float64(a.Hidden) + layers*(s.query+s.keyValue+s.output+s.shared) +
		s.denseLayers*s.dense + s.moeLayers*(s.experts+s.sharedExperts+router)
	return int64(total)
}
