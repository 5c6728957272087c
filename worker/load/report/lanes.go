package report

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

//go:embed lanes.html
var lanesText string

// ErrNoLines is returned for a file that holds no request.
var ErrNoLines = errors.New("the file holds no request; bench writes one with --requests")

// ReadLines reads a file of requests.
func ReadLines(r io.Reader) ([]Line, error) {
	var out []Line
	s := bufio.NewScanner(r)
	s.Buffer(nil, 16<<20)
	for n := 1; s.Scan(); n++ {
		if len(s.Bytes()) == 0 {
			continue
		}
		var l Line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("line %d is no request: %w", n, err)
		}
		if l.Metadata.Start == 0 || l.Metadata.End < l.Metadata.Start {
			return nil, fmt.Errorf("line %d is no request: it has no start, or ends before it", n)
		}
		out = append(out, l)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("reading the requests: %w", err)
	}
	if len(out) == 0 {
		return nil, ErrNoLines
	}
	return out, nil
}

const (
	// mostLanes are drawn; a person sees no more.
	mostLanes  = 400
	laneHeight = 14
	lanesWide  = 1000.0
)

type lanesPage struct {
	shell
	Lanes, Requests, LeftOut int
	Height                   int
	Seconds                  string
	Bars                     []laneBar
	Names                    []laneName
}

type laneBar struct {
	X, Y, Prefill, Decode float64
	Failed, Warm          bool
	Title                 string
}

type laneName struct {
	Y    int
	Text string
}

// WriteLanes writes a page that has a lane for every session, in the order
// they began, agents below the session that started them, and on it a bar for
// every request: up to its first token pale, from there on full.
func WriteLanes(w io.Writer, lines []Line) error {
	from, to := int64(math.MaxInt64), int64(0)
	begun := map[string]int64{} // when each root's first session began
	lanes := map[string][]*Line{}
	for i := range lines {
		m := &lines[i].Metadata
		from, to = min(from, m.Start), max(to, m.End)
		lanes[m.Correlation] = append(lanes[m.Correlation], &lines[i])
		if at, ok := begun[m.Root]; !ok || m.Start < at {
			begun[m.Root] = m.Start
		}
	}
	order := make([]string, 0, len(lanes))
	for id, l := range lanes {
		slices.SortFunc(l, func(a, b *Line) int { return int(a.Metadata.Start - b.Metadata.Start) })
		order = append(order, id)
	}
	slices.SortFunc(order, func(a, b string) int {
		x, y := &lanes[a][0].Metadata, &lanes[b][0].Metadata
		return compare(begun[x.Root], begun[y.Root], int64(x.Depth), int64(y.Depth), x.Start, y.Start, x.SessionNum, y.SessionNum)
	})
	p := lanesPage{shell: newShell("Fleetune requests"), Lanes: len(order), Seconds: fmt.Sprintf("%.4g", float64(to-from)/1e9)}
	if p.LeftOut = max(0, len(order)-mostLanes); p.LeftOut > 0 {
		order = order[:mostLanes]
	}
	scale := lanesWide / float64(max(1, to-from))
	for row, id := range order {
		y := row * laneHeight
		first := &lanes[id][0].Metadata
		p.Names = append(p.Names, laneName{y + laneHeight - 3, fmt.Sprintf("%*s%s", 2*first.Depth, "", first.Conversation)})
		for _, l := range lanes[id] {
			p.Requests++
			p.Bars = append(p.Bars, bar(l, float64(l.Metadata.Start-from)*scale, float64(y+2), scale))
		}
	}
	p.Height = len(order)*laneHeight + 24
	return write(w, "lanes", lanesText, p)
}

// compare orders by pairs, the first that differs deciding.
func compare(pairs ...int64) int {
	for i := 0; i < len(pairs); i += 2 {
		if d := pairs[i] - pairs[i+1]; d != 0 {
			return int(max(-1, min(1, d)))
		}
	}
	return 0
}

func bar(l *Line, x, y, scale float64) laneBar {
	m := &l.Metadata
	round := func(v float64) float64 { return math.Round(100*v) / 100 }
	whole := float64(m.End-m.Start) * scale
	prefill := whole
	if v, ok := l.Metrics[metrics.TagTTFT]; ok {
		prefill = min(whole, v.Value*1e6*scale)
	}
	b := laneBar{X: round(x), Y: y, Prefill: max(1, round(prefill)), Decode: round(whole - prefill), Failed: l.Error != nil, Warm: m.Phase == string(metrics.Warmup)}
	b.Title = fmt.Sprintf("%s, turn %d: %.4g ms", m.Conversation, m.Turn, float64(m.End-m.Start)/1e6)
	if v, ok := l.Metrics[metrics.TagTTFT]; ok {
		b.Title += fmt.Sprintf(", first token after %.4g ms", v.Value)
	}
	if in, ok := l.Metrics[metrics.TagISL]; ok {
		b.Title += fmt.Sprintf(", %.0f tokens in", in.Value)
	}
	if out, ok := l.Metrics[metrics.TagOSL]; ok {
		b.Title += fmt.Sprintf(", %.0f out", out.Value)
	}
	if l.Error != nil {
		b.Title += ", " + l.Error.Error()
	}
	return b
}
