package metrics

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// A Snapshot is what a collector holds, as another process can read it and
// merge it with its own. Distributions of up to SnapshotExact samples travel
// sample by sample, larger ones as sketches with SketchError.
type Snapshot struct {
	Whole  Tally           `json:"whole"`
	Slices map[int64]Tally `json:"slices,omitempty"`
	// Points holds start, first chunk, end, input and output tokens and kind of
	// every request, six numbers each, for the figures over time.
	Points Floats       `json:"points,omitempty"`
	Errors []ErrorCount `json:"errors,omitempty"`
}

// SnapshotExact is how many samples of one distribution travel one by one.
const SnapshotExact = 1 << 16

// pointFields is how many numbers a point of a snapshot has.
const pointFields = 6

// A Tally is one stretch of time of a snapshot. Distributions go by their tag,
// counts by name.
type Tally struct {
	Distributions map[string]Samples `json:"distributions"`
	Counts        map[string]int     `json:"counts"`
	MinStart      int64              `json:"min_start_ns"`
	MaxEnd        int64              `json:"max_end_ns"`
}

// Samples are a distribution: every sample, or a sketch of them with the
// figures that a sketch does not keep.
type Samples struct {
	Exact Floats `json:"exact,omitempty"`
	// Sketch holds pairs of a value's bucket and its count.
	Sketch []int64 `json:"sketch,omitempty"`
	Count  int     `json:"count,omitempty"`
	Sum    float64 `json:"sum,omitempty"`
	Mean   float64 `json:"mean,omitempty"`
	M2     float64 `json:"m2,omitempty"` // Welford's squared distance
	Least  float64 `json:"least,omitempty"`
	Most   float64 `json:"most,omitempty"`
}

// Floats are numbers in 8 bytes each, little-endian, written as base64.
type Floats []byte

// ErrSnapshot says that a snapshot is not one.
var ErrSnapshot = errors.New("not a snapshot of a load")

func floats(in []float64) Floats {
	out := make(Floats, 0, 8*len(in))
	for _, x := range in {
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(x))
	}
	return out
}

func (f Floats) each(use func(float64)) error {
	if len(f)%8 != 0 {
		return fmt.Errorf("%w: %d bytes are no whole numbers", ErrSnapshot, len(f))
	}
	for i := 0; i < len(f); i += 8 {
		use(math.Float64frombits(binary.LittleEndian.Uint64(f[i:])))
	}
	return nil
}

// Snapshot returns a copy of what was added so far.
func (c *Collector) Snapshot() Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Snapshot{Whole: c.whole.snapshot()}
	points := make([]float64, 0, pointFields*len(c.points))
	for _, p := range c.points {
		points = append(points, float64(p.start), float64(p.first), float64(p.end), p.input, p.output, p.kind())
	}
	s.Points = floats(points)
	for _, e := range c.errors {
		s.Errors = append(s.Errors, *e)
	}
	for at, t := range c.slices {
		if s.Slices == nil {
			s.Slices = map[int64]Tally{}
		}
		s.Slices[at] = t.snapshot()
	}
	return s
}

// Merge takes what another process collected. Its instants are moved by shift,
// in ns, onto this collector's clock; slices are numbered alike on both sides.
// A snapshot that is damaged changes nothing.
func (c *Collector) Merge(s *Snapshot, shift int64) error {
	other := NewCollector(c.opt)
	if err := other.read(s, shift); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.whole.merge(&other.whole)
	for at, t := range other.slices {
		if c.slices[at] == nil {
			c.slices[at] = &tally{}
		}
		c.slices[at].merge(t)
	}
	c.points = append(c.points, other.points...)
	for i := range s.Errors {
		e := &s.Errors[i]
		key := errorKey{e.Class, e.Code}
		if c.errors[key] == nil {
			c.errors[key] = &ErrorCount{Class: e.Class, Code: e.Code, Message: e.Message}
		}
		c.errors[key].Count += e.Count
	}
	return nil
}

// read fills an empty collector.
func (c *Collector) read(s *Snapshot, shift int64) error {
	if err := c.whole.read(&s.Whole, shift); err != nil {
		return err
	}
	for at, t := range s.Slices {
		c.slices[at] = &tally{}
		if err := c.slices[at].read(&t, shift); err != nil {
			return err
		}
	}
	var numbers []float64
	if err := s.Points.each(func(x float64) { numbers = append(numbers, x) }); err != nil {
		return err
	}
	if len(numbers)%pointFields != 0 {
		return fmt.Errorf("%w: its points are not whole", ErrSnapshot)
	}
	for i := 0; i < len(numbers); i += pointFields {
		kind := int(numbers[i+5])
		p := point{input: numbers[i+3], output: numbers[i+4], failed: kind&kindFailed != 0, streamed: kind&kindStreamed != 0}
		for k, to := range []*int64{&p.start, &p.first, &p.end} {
			x := numbers[i+k]
			if !(math.Abs(x) < 1<<53) {
				return fmt.Errorf("%w: an instant is out of range", ErrSnapshot)
			}
			if *to = int64(x); *to != 0 {
				*to += shift
			}
		}
		c.points = append(c.points, p)
	}
	return nil
}

// The bits of a point's kind.
const (
	kindFailed = 1 << iota
	kindStreamed
)

func (p *point) kind() float64 {
	kind := 0
	if p.failed {
		kind |= kindFailed
	}
	if p.streamed {
		kind |= kindStreamed
	}
	return float64(kind)
}

// counts are a tally's numbers by name.
func (t *tally) counts() map[string]*int {
	return map[string]*int{
		"valid": &t.valid, "bad": &t.bad, "unfinished": &t.unfinished, "good": &t.good, "overflow": &t.overflow,
		"mismatched": &t.mismatched, "discrepant": &t.discrepant, "cache_read": &t.cacheRead, "cache_prompt": &t.cachePrompt,
		"cache_hits": &t.hits, "cache_blocks": &t.blocks,
	}
}

// badISLTag is the distribution of the prompts of failed requests.
const badISLTag = "error_isl"

// named are a tally's distributions by tag.
func (t *tally) named() map[string]*Distribution {
	out := map[string]*Distribution{chunkGaps.Tag: &t.gaps, badISLTag: &t.badISL}
	for i := range perRequest {
		out[perRequest[i].Tag] = &t.dists[i]
	}
	return out
}

func (t *tally) snapshot() Tally {
	out := Tally{Distributions: map[string]Samples{}, Counts: map[string]int{}, MinStart: t.minStart, MaxEnd: t.maxEnd}
	for name, n := range t.counts() {
		if *n != 0 {
			out.Counts[name] = *n
		}
	}
	for tag, d := range t.named() {
		if d.n > 0 {
			out.Distributions[tag] = d.snapshot()
		}
	}
	return out
}

func (t *tally) merge(o *tally) {
	mine, theirs := t.counts(), o.counts()
	for name, n := range mine {
		*n += *theirs[name]
	}
	dists, others := t.named(), o.named()
	for tag, d := range dists {
		d.Merge(others[tag])
	}
	if o.minStart != 0 && (t.minStart == 0 || o.minStart < t.minStart) {
		t.minStart = o.minStart
	}
	t.maxEnd = max(t.maxEnd, o.maxEnd)
}

// read fills an empty tally. Tags and counts that this version does not know
// are left out.
func (t *tally) read(s *Tally, shift int64) error {
	for name, to := range t.counts() {
		if *to = s.Counts[name]; *to < 0 {
			return fmt.Errorf("%w: %s is %d", ErrSnapshot, name, *to)
		}
	}
	for tag, to := range t.named() {
		from, ok := s.Distributions[tag]
		if !ok {
			continue
		}
		if err := to.read(&from); err != nil {
			return fmt.Errorf("%s: %w", tag, err)
		}
	}
	t.minStart, t.maxEnd = s.MinStart, s.MaxEnd
	if t.minStart != 0 {
		t.minStart += shift
	}
	if t.maxEnd != 0 {
		t.maxEnd += shift
	}
	return nil
}

func (d *Distribution) snapshot() Samples {
	if d.sketch == nil && d.n <= SnapshotExact {
		return Samples{Exact: floats(d.samples)}
	}
	sketch := d.sketch
	if sketch == nil {
		sketch = sketched(d.samples)
	}
	s := Samples{Count: d.n, Sum: d.sum, Mean: d.mean, M2: d.m2, Least: d.least, Most: d.most}
	sketch.each(func(value, n int64) { s.Sketch = append(s.Sketch, value, n) })
	return s
}

func (d *Distribution) read(s *Samples) error {
	if len(s.Sketch) == 0 {
		return s.Exact.each(d.Add)
	}
	if len(s.Sketch)%2 != 0 || s.Count <= 0 || math.IsNaN(s.Sum+s.Mean+s.M2+s.Least+s.Most) || s.Least > s.Most || s.M2 < 0 {
		return fmt.Errorf("%w: a sketch is damaged", ErrSnapshot)
	}
	d.sketch = &sketch{}
	total := int64(0)
	for i := 0; i < len(s.Sketch); i += 2 {
		value, n := s.Sketch[i], s.Sketch[i+1]
		if n <= 0 || value < -sketchMax || value > sketchMax || total > math.MaxInt64-n {
			return fmt.Errorf("%w: a sketch is damaged", ErrSnapshot)
		}
		total += n
		d.sketch.record(value, n)
	}
	if total != int64(s.Count) {
		return fmt.Errorf("%w: a sketch holds %d samples, not %d", ErrSnapshot, total, s.Count)
	}
	d.n, d.sum, d.mean, d.m2, d.least, d.most = s.Count, s.Sum, s.Mean, s.M2, s.Least, s.Most
	return nil
}
