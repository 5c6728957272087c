package records

import (
	"cmp"
	"slices"

	"github.com/fleetune/fleetune/proto/task"
)

// A Winner is the best point of a key.
type Winner struct {
	Candidate
	// Record is the newest measurement of the point.
	Record Record
	// Median of the point's first scores, and how many points the key has.
	Median float64
	Points int
}

// Winners derives the winner of each key as the store does: each point's median
// over its measurements, and of the points that a task has confirmed as its best,
// if there are any, the best one; ties go to the point that was measured first.
// They come sorted by key.
func Winners(list []Record) []Winner {
	points := map[string]map[string][]Record{}
	for _, r := range list {
		point, err := PointKey(r.Point)
		if err != nil || len(r.Scores) == 0 {
			continue // a configuration that failed wins nothing
		}
		key := r.Key.Digest()
		if points[key] == nil {
			points[key] = map[string][]Record{}
		}
		points[key][point] = append(points[key][point], r)
	}
	out := make([]Winner, 0, len(points))
	for digest, of := range points {
		out = append(out, winner(digest, of))
	}
	slices.SortFunc(out, func(a, b Winner) int { return cmp.Compare(a.Digest, b.Digest) })
	return out
}

func winner(digest string, points map[string][]Record) Winner {
	type candidate struct {
		Winner
		first Record
	}
	var list []candidate
	for _, records := range points {
		slices.SortFunc(records, earlier)
		newest := records[len(records)-1]
		c := candidate{first: records[0], Winner: Winner{Record: newest, Median: medianScore(records), Points: len(points),
			Candidate: Candidate{Digest: digest, Key: newest.Key, MeasuredAt: newest.MeasuredAt,
				Confirmed: slices.ContainsFunc(records, func(r Record) bool { return r.Confirmed })}}}
		list = append(list, c)
	}
	_, direction, err := list[0].Key.Objective()
	maximize := err == nil && direction == task.Maximize
	best := slices.MinFunc(list, func(a, b candidate) int {
		score := cmp.Compare(a.Median, b.Median)
		if maximize {
			score = -score
		}
		return cmp.Or(first(a.Confirmed, b.Confirmed), score, earlier(a.first, b.first))
	})
	return best.Winner
}

func earlier(a, b Record) int {
	return cmp.Or(a.MeasuredAt.Compare(b.MeasuredAt), compareID(a.ID, b.ID))
}

func medianScore(records []Record) float64 {
	scores := make([]float64, len(records))
	for i, r := range records {
		scores[i] = r.Scores[0]
	}
	slices.Sort(scores)
	middle := len(scores) / 2
	if len(scores)%2 == 1 {
		return scores[middle]
	}
	return (scores[middle-1] + scores[middle]) / 2
}

// Find answers a question from the winners of records.
func Find(q Question, list []Record) (Winner, Answer, error) {
	var of []Record
	for _, r := range list {
		if r.Key.Operation.Name == q.Operation {
			of = append(of, r)
		}
	}
	winners := Winners(of)
	candidates := make([]Candidate, len(winners))
	for i, w := range winners {
		candidates[i] = w.Candidate
	}
	a, err := Choose(q, candidates)
	if err != nil {
		return Winner{}, Answer{}, err
	}
	return winners[slices.IndexFunc(winners, func(w Winner) bool { return w.Digest == a.Digest })], a, nil
}
