package replay

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
)

// Levels say which column of a CSV file holds the level of a measurement.
type Levels struct {
	Column string
	// Texts of the column and what a measurement at that level costs, rising;
	// the last is a full measurement. Rows with other texts are left out.
	Texts []string
	Costs []float64
	// Eta is the share of points that go on; 3 when 0.
	Eta float64
}

// ParseLevels reads "COLUMN=TEXT,TEXT:COST,…"; without a cost the text is one.
func ParseLevels(text string) (*Levels, error) {
	column, list, ok := strings.Cut(text, "=")
	if !ok || column == "" {
		return nil, fmt.Errorf("%q names no levels; write it as in window_s=10,30,full:120", text)
	}
	l := &Levels{Column: column}
	for item := range strings.SplitSeq(list, ",") {
		name, cost, priced := strings.Cut(item, ":")
		if !priced {
			cost = name
		}
		c, err := strconv.ParseFloat(cost, 64)
		if err != nil || !(c > 0) || math.IsInf(c, 0) || len(l.Costs) > 0 && c <= l.Costs[len(l.Costs)-1] {
			return nil, fmt.Errorf("level %q needs a cost that is above the last one's, as in full:120", item)
		}
		l.Texts, l.Costs = append(l.Texts, name), append(l.Costs, c)
	}
	if len(l.Costs) < 2 {
		return nil, fmt.Errorf("%q names one level; two are needed at least", text)
	}
	return l, nil
}

// fidelity is what samplers are told of the levels.
func (l *Levels) fidelity() *task.Fidelity {
	eta := l.Eta
	if eta == 0 {
		eta = 3
	}
	return &task.Fidelity{Name: l.Column, Levels: l.Costs, Eta: eta}
}

// fold makes one row of a point's measurements at all levels: the full one is
// its value. Points without a full measurement are dropped, since nothing says
// how good they are.
func (l *Levels) fold(rows []Row, levels []string) []Row {
	var out []Row
	at := map[string]int{}
	for i, r := range rows {
		level := slices.Index(l.Texts, levels[i])
		if level < 0 {
			continue
		}
		key := fmt.Sprint(r.Point)
		k, ok := at[key]
		if !ok {
			k = len(out)
			at[key] = k
			out = append(out, Row{Point: r.Point, Outcome: experiment.OutcomeNotStarted, Rough: map[float64][]float64{}})
		}
		if level == len(l.Texts)-1 {
			out[k].Values, out[k].Outcome = r.Values, r.Outcome
		} else {
			out[k].Rough[l.Costs[level]] = r.Values
		}
	}
	return slices.DeleteFunc(out, func(r Row) bool { return r.Outcome == experiment.OutcomeNotStarted })
}
