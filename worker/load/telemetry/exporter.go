package telemetry

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// readTime bounds one read of an exporter, maxPage what is read of its page.
const (
	readTime = 5 * time.Second
	maxPage  = 16 << 20
)

// exporter reads the GPUs of a DCGM exporter, by its Prometheus page.
type exporter struct{ url string }

func (e exporter) Read(ctx context.Context) ([]Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the GPUs: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("reading the GPUs: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or given up
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("reading the GPUs: %s answers %s", e.url, resp.Status)
	}
	return parseDCGM(io.LimitReader(resp.Body, maxPage))
}

// parseDCGM reads an exporter's page. Names and units are those of NVIDIA's
// dcgm-exporter: percent, MiB, W, °C, MHz, and mJ of energy.
func parseDCGM(in io.Reader) ([]Sample, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(in)
	if err != nil {
		return nil, fmt.Errorf("reading the GPUs: the page is no Prometheus text: %w", err)
	}
	nan := math.NaN()
	gpus := map[string]*Sample{}
	for _, f := range []struct {
		name string
		set  func(s *Sample, x float64)
	}{
		{"DCGM_FI_DEV_GPU_UTIL", func(s *Sample, x float64) { s.Utilization = x }},
		{"DCGM_FI_DEV_FB_USED", func(s *Sample, x float64) { s.MemoryUsed = x / 1024 }},
		{"DCGM_FI_DEV_POWER_USAGE", func(s *Sample, x float64) { s.Power = x }},
		{"DCGM_FI_DEV_GPU_TEMP", func(s *Sample, x float64) { s.Temperature = x }},
		{"DCGM_FI_DEV_SM_CLOCK", func(s *Sample, x float64) { s.Clock = x }},
		{"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", func(s *Sample, x float64) { s.Energy = x / 1000 }},
	} {
		for _, m := range families[f.name].GetMetric() {
			id := label(m, "UUID")
			if id == "" {
				id = label(m, "gpu")
			}
			x := value(m)
			if id == "" || math.IsNaN(x) || math.IsInf(x, 0) {
				continue
			}
			if gpus[id] == nil {
				gpus[id] = &Sample{ID: id, Name: label(m, "modelName"), Utilization: nan, MemoryUsed: nan, Power: nan, Temperature: nan, Clock: nan, Energy: nan}
			}
			f.set(gpus[id], x)
		}
	}
	out := make([]Sample, 0, len(gpus))
	for _, s := range gpus {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b Sample) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

func value(m *dto.Metric) float64 {
	switch {
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Untyped != nil:
		return m.Untyped.GetValue()
	}
	return math.NaN()
}
