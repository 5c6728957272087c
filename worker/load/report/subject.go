package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fleetune/fleetune/shared/terminal"
	"github.com/fleetune/fleetune/worker/load/metrics"
)

// settings are the command's settings by name, as the document carries them.
func (d *Document) settings() map[string]any {
	out := map[string]any{}
	raw, err := json.Marshal(d.Config)
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	if err != nil {
		return nil // settings of another program's; the figures stand without
	}
	return out
}

func text(settings map[string]any, name string) string {
	switch v := settings[name].(type) {
	case string:
		return v
	case []any:
		words := make([]string, len(v))
		for i := range v {
			words[i] = fmt.Sprint(v[i])
		}
		return strings.Join(words, ", ")
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return ""
}

// Title is what was measured: the model, else the server, else the report's id.
func (d *Document) Title() string {
	s := d.settings()
	if name := text(s, "model"); name != "" {
		return name
	}
	if name := text(s, "url"); name != "" {
		return name
	}
	return "Benchmark " + d.ID
}

// Setting says in a line what was sent where.
func (d *Document) Setting() string {
	s := d.settings()
	var words []string
	add := func(format, name string) {
		if v := text(s, name); v != "" && v != "0" {
			words = append(words, fmt.Sprintf(format, v))
		}
	}
	add("%s", "url")
	add("%s", "endpoint_type")
	if on, _ := s["streaming"].(bool); on {
		words = append(words, "streaming")
	}
	switch {
	case text(s, "input_file") != "":
		add("%s", "input_file")
	case text(s, "seq_dist") != "":
		add("%s", "seq_dist")
	case text(s, "isl") != "":
		add("ISL %s", "isl")
		add("OSL %s", "osl")
	default:
		add("%s", "scenario")
	}
	add("concurrency %s", "concurrency")
	add("%s requests/s", "request_rate")
	add("%s users", "num_users")
	add("sweep %s", "sweep")
	add("search %s", "search")
	add("%s workers", "workers")
	return strings.Join(words, " · ")
}

// slos are the bounds that requests were to keep.
func (d *Document) slos() []metrics.SLO {
	out, err := metrics.ParseSLOs(text(d.settings(), "goodput"))
	if err != nil {
		return nil // of another version's figures
	}
	return out
}

// A fact is a line of what a run comes to.
type fact struct {
	Name, Value string
	// Bad is set where it should alarm.
	Bad bool
}

// facts sum a run up.
func (d *Document) facts() []fact {
	value := func(tag string) float64 { return d.Metrics[tag].Avg }
	has := func(tag string) bool { _, ok := d.Metrics[tag]; return ok }
	done, failed := value(metrics.TagRequestCount), value(metrics.TagErrorCount)
	ended := fmt.Sprintf("%s succeeded, %s failed", terminal.Count(done), terminal.Count(failed))
	if done+failed > 0 {
		ended += fmt.Sprintf(" (%s %%)", figure(100*failed/(done+failed)))
	}
	if n := value(metrics.TagUnfinished); n > 0 {
		ended += fmt.Sprintf(", %s cut off", terminal.Count(n))
	}
	if has(metrics.TagDuration) {
		ended += " in " + terminal.Duration(time.Duration(value(metrics.TagDuration)*float64(time.Second)))
	}
	out := []fact{{"requests", ended, failed > 0}}
	if has(metrics.TagRequestThroughput) {
		rates := figure(value(metrics.TagRequestThroughput)) + " requests/s"
		if has(metrics.TagOutputThroughput) {
			rates += ", " + figure(value(metrics.TagOutputThroughput)) + " output tokens/s"
		}
		if has(metrics.TagTotalThroughput) {
			rates += ", " + figure(value(metrics.TagTotalThroughput)) + " tokens/s in and out"
		}
		out = append(out, fact{"throughput", rates, false})
	}
	if has(metrics.TagGoodput) {
		share := 0.0
		if done+failed > 0 {
			share = value(metrics.TagGoodCount) / (done + failed)
		}
		out = append(out, fact{"goodput", fmt.Sprintf("%s requests/s: %s %% of the requests keep %s", figure(value(metrics.TagGoodput)), figure(100*share), text(d.settings(), "goodput")), share < 1})
	}
	if has(metrics.TagCacheRead) {
		out = append(out, fact{"prefix cache", figure(value(metrics.TagCacheRead)) + " % of the prompts' tokens were read from it", false})
	}
	if has(metrics.TagIdealHit) {
		out = append(out, fact{"ideal cache", figure(value(metrics.TagIdealHit)) + " % of the prompts' blocks would be in it", false})
	}
	return append(out, d.deviceFacts()...)
}

// figure writes a number so that it can be read in a column of its like: two
// digits behind the point below a hundred, none from a thousand on.
func figure(x float64) string {
	switch size := math.Abs(x); {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return "–"
	case size >= 1000:
		return terminal.Count(x)
	case size >= 100:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case size >= 0.1 || size == 0:
		return strconv.FormatFloat(x, 'f', 2, 64)
	default:
		return strconv.FormatFloat(x, 'g', 2, 64)
	}
}

// A group is figures that belong together on a page.
type group struct {
	Title string
	Rows  []row
	// Single figures of the whole run.
	Totals []fact
}

type row struct {
	Name  string
	Cells []string
}

// groups sort figures by what they are about, each in the order of their
// definitions.
func (d *Document) groups(columns []string) []group {
	titles := []string{"Latency", "Throughput", "Lengths and token counts", "Concurrency and tokens in flight", "HTTP", "The server's own figures", "GPUs", "Requests"}
	byTitle := map[string]*group{}
	for _, tag := range ordered(d.Metrics) {
		title := about(tag)
		if byTitle[title] == nil {
			byTitle[title] = &group{Title: title}
		}
		g, m := byTitle[title], d.Metrics[tag]
		name := fmt.Sprintf("%s (%s)", metrics.Title(tag), m.Unit)
		if m.Count == nil {
			g.Totals = append(g.Totals, fact{name, figure(m.Avg), false})
			continue
		}
		r := row{Name: name}
		for _, col := range columns {
			r.Cells = append(r.Cells, figure(*m.column(col)))
		}
		g.Rows = append(g.Rows, r)
	}
	var out []group
	for _, title := range titles {
		if g := byTitle[title]; g != nil {
			out = append(out, *g)
		}
	}
	return out
}

// ordered are the tags of figures: those that are defined first, in the order
// of their definitions.
func ordered(in map[string]Metric) []string {
	var out []string
	for _, tag := range metrics.Order() {
		if _, ok := in[tag]; ok {
			out = append(out, tag)
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(in)) {
		if !slices.Contains(out, tag) {
			out = append(out, tag)
		}
	}
	return out
}

func about(tag string) string {
	ends := func(suffixes ...string) bool {
		return slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(tag, s) })
	}
	starts := func(prefixes ...string) bool {
		return slices.ContainsFunc(prefixes, func(s string) bool { return strings.HasPrefix(tag, s) })
	}
	switch {
	case starts("http_req_"):
		return "HTTP"
	case starts("server_"):
		return "The server's own figures"
	case starts("gpu_", "energy_", "output_tokens_per_joule"):
		return "GPUs"
	case ends("_throughput", "_throughput_per_user", "goodput"):
		return "Throughput"
	case starts("effective_latency", "adj_", "time_to_") || ends("_latency", "_lag"):
		return "Latency"
	case ends("_concurrency", "_in_flight"):
		return "Concurrency and tokens in flight"
	case ends("_request_count", "error_rate", "request_count", "_duration", "_overflow_count"):
		return "Requests"
	}
	return "Lengths and token counts"
}
