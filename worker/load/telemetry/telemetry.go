// Package telemetry reads what GPUs do while a load runs: how busy they are,
// what memory and power they take, and the energy that the load cost. It reads
// the driver's tool on this machine or a DCGM exporter elsewhere, once a
// second, and says why where there is nothing to read.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

// ErrNoGPU says that there is no GPU to read.
var ErrNoGPU = errors.New("no GPU telemetry")

// A Sample is what one GPU showed at an instant. NaN is what it did not show.
type Sample struct {
	ID   string // UUID, or the index where there is none
	Name string
	// Utilization of the compute units, in percent of the time.
	Utilization float64
	MemoryUsed  float64 // GiB
	Power       float64 // W
	Temperature float64 // °C
	Clock       float64 // MHz, of the compute units
	// Energy since the driver was loaded, in J.
	Energy float64
}

// A Source reads all its GPUs once.
type Source interface {
	Read(ctx context.Context) ([]Sample, error)
}

// Open finds a source: Local, or the URL of a DCGM exporter. With devices it
// keeps to the GPUs of those ids; without, it reads all.
func Open(ctx context.Context, where string, devices ...string) (Source, error) {
	var s Source = smi{}
	if where != Local {
		if !strings.HasPrefix(where, "http://") && !strings.HasPrefix(where, "https://") {
			return nil, fmt.Errorf("GPU telemetry %q: want %s or the URL of a DCGM exporter", where, Local)
		}
		s = exporter{url: where}
	}
	if len(devices) > 0 {
		s = only{s, devices}
	}
	now, err := s.Read(ctx)
	if err != nil {
		return nil, err
	}
	if len(now) == 0 {
		return nil, fmt.Errorf("%w: the driver lists no device", ErrNoGPU)
	}
	return s, nil
}

// Local names the driver's own tool as the source.
const Local = "local"

// only keeps to some GPUs.
type only struct {
	Source
	ids []string
}

func (o only) Read(ctx context.Context) ([]Sample, error) {
	all, err := o.Source.Read(ctx)
	return slices.DeleteFunc(all, func(s Sample) bool { return !slices.Contains(o.ids, s.ID) }), err
}

// A GPU is what one GPU did over a run.
type GPU struct {
	ID      string                   `json:"id"`
	Name    string                   `json:"name,omitempty"`
	Figures map[string]metrics.Stats `json:"figures"`
	// Energy that it took, in J, and whether the driver counted it or it was
	// summed up of power readings.
	Energy  float64 `json:"energy_j"`
	Counted bool    `json:"energy_counted"`
}

// A Recorder reads a source until it is stopped.
type Recorder struct {
	source Source
	quit   context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	gpus   []*gpu
	missed int
	last   error
}

// gpu gathers the samples of one GPU.
type gpu struct {
	Sample
	dists  map[string]*metrics.Distribution
	at     time.Time
	power  float64 // at that instant
	first  float64 // the energy counter at the start, NaN without
	summed float64 // power over time, J
}

// Start reads the source now and then once every interval.
func Start(ctx context.Context, s Source, every time.Duration) *Recorder {
	ctx, quit := context.WithCancel(ctx)
	r := &Recorder{source: s, quit: quit, done: make(chan struct{})}
	r.look(ctx)
	go func() {
		defer close(r.done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.look(ctx)
			case <-ctx.Done():
				return
			}
		}
	}()
	return r
}

func (r *Recorder) look(ctx context.Context) {
	samples, err := r.source.Read(ctx)
	at := time.Now()
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.missed, r.last = r.missed+1, err
		return
	}
	r.take(at, samples)
}

func (r *Recorder) take(at time.Time, samples []Sample) {
	for _, s := range samples {
		i := slices.IndexFunc(r.gpus, func(g *gpu) bool { return g.ID == s.ID })
		if i < 0 {
			i = len(r.gpus)
			r.gpus = append(r.gpus, &gpu{dists: map[string]*metrics.Distribution{}, at: at, power: s.Power, first: s.Energy})
		}
		g := r.gpus[i]
		g.Sample = s
		for tag, x := range map[string]float64{TagUtilization: s.Utilization, TagMemory: s.MemoryUsed, TagPower: s.Power, TagTemperature: s.Temperature, TagClock: s.Clock} {
			if g.dists[tag] == nil {
				g.dists[tag] = &metrics.Distribution{}
			}
			g.dists[tag].Add(x)
		}
		if step := at.Sub(g.at).Seconds() * (g.power + s.Power) / 2; !math.IsNaN(step) {
			g.summed += step
		}
		g.at, g.power = at, s.Power
	}
}

// The figures' tags.
const (
	TagUtilization = "gpu_utilization"
	TagMemory      = "gpu_memory_used"
	TagPower       = "gpu_power_usage"
	TagTemperature = "gpu_temperature"
	TagClock       = "gpu_clock"
	TagEnergy      = "gpu_energy"
)

func units() map[string]string {
	return map[string]string{TagUtilization: "%", TagMemory: "GiB", TagPower: "W", TagTemperature: "°C", TagClock: "MHz"}
}

// Unit is what a figure is in; empty for one that is not of a GPU.
func Unit(tag string) string { return units()[tag] }

// Stop reads once more and sums up. Reads that failed are told as an error
// beside what was read.
func (r *Recorder) Stop(ctx context.Context) ([]GPU, error) {
	r.quit()
	<-r.done
	r.look(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []GPU
	for _, g := range r.gpus {
		one := GPU{ID: g.ID, Name: g.Name, Figures: map[string]metrics.Stats{}, Energy: g.summed}
		for tag, d := range g.dists {
			if s := d.Stats(); s != nil {
				one.Figures[tag] = *s
			}
		}
		if used := g.Energy - g.first; used > 0 {
			one.Energy, one.Counted = used, true
		}
		out = append(out, one)
	}
	if r.missed > 0 {
		return out, fmt.Errorf("%d reads of the GPUs failed, at last: %w", r.missed, r.last)
	}
	return out, nil
}

// Figures are a run's figures of its GPUs: of each quantity the samples of all
// of them, and of the energy the sum.
func Figures(gpus []GPU) []metrics.Metric {
	if len(gpus) == 0 {
		return nil
	}
	var out []metrics.Metric
	energy := 0.0
	for _, g := range gpus {
		energy += g.Energy
	}
	for tag, unit := range units() {
		var mean, n float64
		stats := metrics.Stats{Min: math.Inf(1), Max: math.Inf(-1)}
		for _, g := range gpus {
			s, ok := g.Figures[tag]
			if !ok {
				continue
			}
			mean, n = mean+s.Avg, n+1
			stats.Min, stats.Max = math.Min(stats.Min, s.Min), math.Max(stats.Max, s.Max)
		}
		if n > 0 {
			out = append(out, metrics.Metric{Tag: tag, Header: metrics.Title(tag), Unit: unit, Stats: metrics.Stats{Avg: mean / n}, Aggregate: true},
				metrics.Metric{Tag: tag + "_max", Header: metrics.Title(tag + "_max"), Unit: unit, Stats: metrics.Stats{Avg: stats.Max}, Aggregate: true})
		}
	}
	if energy > 0 {
		out = append(out, metrics.Metric{Tag: TagEnergy, Header: metrics.Title(TagEnergy), Unit: "J", Stats: metrics.Stats{Avg: energy}, Aggregate: true})
	}
	return out
}

// Efficiency relates the energy to what it served: J a request, J an output
// token, and output tokens a joule. It is empty where either is missing.
func Efficiency(energy, requests, outputTokens float64) []metrics.Metric {
	var out []metrics.Metric
	put := func(tag, unit string, a, b float64) {
		if a > 0 && b > 0 {
			out = append(out, metrics.Metric{Tag: tag, Header: metrics.Title(tag), Unit: unit, Stats: metrics.Stats{Avg: a / b}, Aggregate: true})
		}
	}
	put("energy_per_request", "J/request", energy, requests)
	put("energy_per_output_token", "J/token", energy, outputTokens)
	put("output_tokens_per_joule", "tokens/J", outputTokens, energy)
	return out
}
