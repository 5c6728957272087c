package gp

import (
	"errors"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
)

// ErrTooFew says that a history holds too few values to learn from.
var ErrTooFew = errors.New("fewer than three points have a value")

// A Surrogate predicts one objective from a history.
type Surrogate struct {
	encoder *encoder
	model   model
	data    data
	y       []float64
	mean    float64
	spread  float64
	// Log says that predictions are logarithms of losses.
	Log bool
}

// Learn fits a surrogate to an objective of a history that has been read, by
// its position. It predicts logarithms when all values have one sign.
func Learn(set *valid.Set, past *sampler.Past, objective int) (*Surrogate, error) {
	s := &Surrogate{encoder: newEncoder(set)}
	s.model = model{dims: s.encoder.dims, most: valuePoints}
	var losses []float64
	for _, t := range past.Trials() {
		if t.Losses == nil || objective >= len(t.Losses) {
			continue
		}
		s.data.keys, s.data.rows = append(s.data.keys, t.Key), append(s.data.rows, s.encoder.row(t.Vec))
		losses = append(losses, t.Losses[objective])
	}
	if len(losses) < fewest {
		return nil, ErrTooFew
	}
	s.data.y, s.Log = logarithms(losses)
	if len(s.encoder.dims) == 0 {
		return s, nil
	}
	l := s.model.train(s.data)
	s.data, s.y, s.mean, s.spread = l.data, l.y, l.mean, l.spread
	return s, nil
}

// Predict returns the expected value at each point.
func (s *Surrogate) Predict(points []valid.Vec) []float64 {
	out := make([]float64, len(points))
	if len(s.encoder.dims) == 0 {
		return out
	}
	p := newPosterior(s.encoder.dims, s.model.params, s.encoder.columns(points), len(points))
	for _, x := range s.data.rows {
		p.add(x)
	}
	p.means(p.whiten(s.y), out)
	for i := range out {
		out[i] = s.mean + s.spread*out[i]
	}
	return out
}
