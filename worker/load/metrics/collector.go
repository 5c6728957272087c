package metrics

import (
	"cmp"
	"math"
	"slices"
	"sync"
)

// Options of a Collector.
type Options struct {
	// SLOs that a request must all keep to count as good.
	SLOs []SLO
	// Slice is the length of a time slice in nanoseconds; 0 makes none.
	Slice int64
	// Zero is the instant at which the first slice begins, in ns.
	Zero int64
}

// A Collector sums records up. It is safe for concurrent use.
type Collector struct {
	mu     sync.Mutex
	opt    Options
	whole  tally
	slices map[int64]*tally
	points []point
	errors map[errorKey]*ErrorCount
	recent recent
}

type errorKey struct {
	class Class
	code  int
}

// ErrorCount is how often one kind of error came.
type ErrorCount struct {
	Class Class `json:"type"`
	Code  int   `json:"code,omitempty"`
	// Message is the first one of its kind.
	Message string `json:"message"`
	Count   int    `json:"count"`
}

// Begin sets the instant at which the first slice begins, in ns, before any
// record is added.
func (c *Collector) Begin(zero int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opt.Zero = zero
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// NewCollector returns an empty collector.
func NewCollector(opt Options) *Collector {
	return &Collector{opt: opt, slices: map[int64]*tally{}, errors: map[errorKey]*ErrorCount{}}
}

// tally is what a stretch of time sums up to.
type tally struct {
	dists      [64]Distribution // one per entry of perRequest
	gaps       Distribution
	valid, bad int
	unfinished int
	good       int
	minStart   int64
	maxEnd     int64
	overflow   int
	badISL     Distribution
	mismatched int
	discrepant int

	cacheRead, cachePrompt int
	hits, blocks           int
}

// Add takes a finished record. Warm-up records are the caller's to leave out.
func (c *Collector) Add(r *Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.whole.add(r, c.opt.SLOs)
	if c.opt.Slice > 0 {
		at := floorDiv(r.Start-c.opt.Zero, c.opt.Slice)
		if c.slices[at] == nil {
			c.slices[at] = &tally{}
		}
		c.slices[at].add(r, c.opt.SLOs)
	}
	if r.Start > 0 && r.End > r.Start {
		c.points = append(c.points, point{
			start: r.Start, first: r.FirstChunk(), end: r.End,
			input: float64(max(r.InputTokens, 0)), output: float64(max(r.OutputTokens(), 0)),
			failed: !r.Valid() && (r.Err == nil || r.Err.Class != ErrStopped), streamed: r.Streamed,
		})
	}
	if r.Err != nil && r.Err.Class != ErrStopped {
		c.countError(r.Err)
	}
	c.recent.add(r)
}

func (c *Collector) countError(e *Error) {
	key := errorKey{e.Class, e.Code}
	if c.errors[key] == nil {
		c.errors[key] = &ErrorCount{Class: e.Class, Code: e.Code, Message: e.Message}
	}
	c.errors[key].Count++
}

func (t *tally) add(r *Record, slos []SLO) {
	if r.Err != nil && r.Err.Class == ErrStopped {
		t.unfinished++
		return
	}
	if !r.Valid() {
		t.bad++
		if r.InputTokens > 0 {
			t.badISL.Add(float64(r.InputTokens))
		}
		if r.Err != nil && r.Err.Class == ErrOverflow {
			t.overflow++
		}
		return
	}
	t.valid++
	if t.minStart == 0 || r.Start < t.minStart {
		t.minStart = r.Start
	}
	t.maxEnd = max(t.maxEnd, r.LastChunk())
	for i := range perRequest {
		t.dists[i].Add(perRequest[i].Of(r))
	}
	for i := 1; i < len(r.Chunks); i++ {
		t.gaps.Add(ms(r.Chunks[i].At - r.Chunks[i-1].At))
	}
	if len(slos) > 0 && good(r, slos) {
		t.good++
	}
	t.addCounts(r)
}

func (t *tally) addCounts(r *Record) {
	if r.Usage.Prompt > 0 && r.Usage.CacheRead >= 0 {
		t.cacheRead += r.Usage.CacheRead
		t.cachePrompt += r.Usage.Prompt
	}
	t.hits += r.CacheHits
	t.blocks += r.CacheBlocks
	if promptDiff(r) > 10 || completionDiff(r) > 10 {
		t.discrepant++
	}
	if n := r.OutputTokens(); r.WantedTokens > 0 && n >= 0 {
		if diff := math.Abs(float64(n - r.WantedTokens)); diff > math.Min(0.05*float64(r.WantedTokens), 50) {
			t.mismatched++
		}
	}
}

// A Metric is one figure of a run.
type Metric struct {
	Tag    string
	Header string
	Unit   string
	// Stats of many samples; for an aggregate only Avg is set.
	Stats     Stats
	Aggregate bool
}

// A Summary is a run's figures, sorted by tag.
type Summary struct {
	Metrics []Metric
	Errors  []ErrorCount
	Slices  []Slice
	// Series holds one sample a second for charts.
	Series Series
}

// A Slice is the figures of the requests that started in one stretch of time.
type Slice struct {
	Index      int64
	Start, End int64 // ns since the start of the run
	Metrics    []Metric
}

// Get returns the figure of a tag.
func (s *Summary) Get(tag string) (Metric, bool) {
	i, ok := slices.BinarySearchFunc(s.Metrics, tag, func(m Metric, tag string) int { return cmp.Compare(m.Tag, tag) })
	if !ok {
		return Metric{}, false
	}
	return s.Metrics[i], true
}

// Add puts figures of another origin in their places.
func (s *Summary) Add(figures []Metric) { s.Metrics = sorted(append(s.Metrics, figures...)) }

// Value returns a figure's average, or 0 where it is missing.
func (s *Summary) Value(tag string) float64 {
	m, _ := s.Get(tag)
	return m.Stats.Avg
}

// Summary sums up what was added so far.
func (c *Collector) Summary() *Summary {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &Summary{Metrics: c.whole.metrics(len(c.opt.SLOs) > 0)}
	if from, to, ok := c.window(); ok {
		s.Metrics = append(s.Metrics, curves(c.points, from, to)...)
		s.Series = series(c.points, from, to)
	}
	s.Errors = c.errorCounts()
	for at, t := range c.slices {
		s.Slices = append(s.Slices, Slice{Index: at, Start: c.opt.Zero + at*c.opt.Slice, End: c.opt.Zero + (at+1)*c.opt.Slice, Metrics: sorted(t.metrics(len(c.opt.SLOs) > 0))})
	}
	slices.SortFunc(s.Slices, func(a, b Slice) int { return cmp.Compare(a.Index, b.Index) })
	s.Metrics = sorted(s.Metrics)
	return s
}

// errorCounts lists the kinds of errors, the most frequent first.
func (c *Collector) errorCounts() []ErrorCount {
	var out []ErrorCount
	for _, e := range c.errors {
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b ErrorCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Code, b.Code))
	})
	return out
}

func sorted(in []Metric) []Metric {
	slices.SortFunc(in, func(a, b Metric) int { return cmp.Compare(a.Tag, b.Tag) })
	return in
}

// window is the time from the first start to the last end, failures included.
func (c *Collector) window() (from, to int64, ok bool) {
	for i, p := range c.points {
		if i == 0 || p.start < from {
			from = p.start
		}
		to = max(to, p.end)
	}
	return from, to, to > from
}

func (t *tally) metrics(slos bool) []Metric {
	var out []Metric
	for i := range perRequest {
		if s := t.dists[i].Stats(); s != nil {
			d := perRequest[i]
			out = append(out, Metric{Tag: d.Tag, Header: d.Header, Unit: d.Unit, Stats: *s})
		}
	}
	if s := t.gaps.Stats(); s != nil {
		out = append(out, Metric{Tag: chunkGaps.Tag, Header: chunkGaps.Header, Unit: chunkGaps.Unit, Stats: *s})
	}
	if s := t.badISL.Stats(); s != nil {
		out = append(out, Metric{Tag: badISLTag, Header: "Input Sequence Length of Failures", Unit: "tokens", Stats: *s})
	}
	return append(out, t.aggregates(slos)...)
}
