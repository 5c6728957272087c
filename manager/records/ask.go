package records

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Why a question has no answer.
var (
	ErrNotFound  = errors.New("no record answers")
	ErrAmbiguous = errors.New("several records answer, for different places")
)

// A Question asks for a winner: what a runtime knows of itself when it starts.
type Question struct {
	Operation string
	Version   string
	// Runner narrows to one digest of what ran; "" takes any.
	Runner string
	Extras Facts
	// Workload has to agree in every fact, or with Nearest in all but numbers.
	Workload    Facts
	Environment Facts
	// Objective narrows to one, as in minimize_time_ms; "" takes any.
	Objective string
	Nearest   bool
}

// A Candidate is a key that has a winner, or a pin.
type Candidate struct {
	Digest string
	Key    Key
	Pinned bool
	// Confirmed is the winner's.
	Confirmed  bool
	MeasuredAt time.Time
}

// How a candidate answers.
const (
	MatchExact   = "exact"
	MatchSoft    = "soft"
	MatchNearest = "nearest"
)

// An Answer is the candidate that serves a question.
type Answer struct {
	Candidate
	// Match is exact, soft or nearest.
	Match string
	// Differences name what is not known to agree (soft), and in which numbers
	// the workload differs (nearest).
	Differences []Difference
	// Distance is the sum over the differing numbers of |log2(asked/recorded)|.
	Distance float64
}

// Choose answers a question from the keys of its operation. ErrNotFound says
// which fact the closest one fails; ErrAmbiguous which fact to add.
func Choose(q Question, candidates []Candidate) (Answer, error) {
	var answers []Answer
	var closest []Difference
	for _, c := range candidates {
		a, hard := weigh(q, c)
		if len(hard) == 0 {
			answers = append(answers, a)
		} else if closest == nil || len(hard) < len(closest) {
			closest = hard
		}
	}
	if len(answers) == 0 {
		return Answer{}, missing(q, closest)
	}
	slices.SortStableFunc(answers, better)
	best := answers[0]
	for _, other := range answers[1:] {
		if fact, differ := apart(q, best.Key.Environment, other.Key.Environment); differ {
			return Answer{}, fmt.Errorf("%w: say %s", ErrAmbiguous, fact)
		}
	}
	return best, nil
}

func missing(q Question, closest []Difference) error {
	if closest == nil {
		return fmt.Errorf("%w: none is of operation %q", ErrNotFound, q.Operation)
	}
	parts := make([]string, 0, 3)
	for _, d := range closest[:min(3, len(closest))] {
		parts = append(parts, d.String())
	}
	return fmt.Errorf("%w for these facts; the closest differs in %s", ErrNotFound, strings.Join(parts, "; "))
}

// weigh compares a candidate with the question.
func weigh(q Question, c Candidate) (Answer, []Difference) {
	a := Answer{Candidate: c, Match: MatchExact}
	o := c.Key.Operation
	hard := only("operation.version", q.Version, o.Version)
	if q.Runner != "" {
		hard = append(hard, only("operation.runner", q.Runner, o.Runner)...)
	}
	if q.Objective != "" && q.Objective != firstText(c.Key.Measurement[FactObjectives]) {
		hard = append(hard, Difference{"measurement." + FactObjectives, q.Objective, firstText(c.Key.Measurement[FactObjectives])})
	}
	hard = append(hard, strict("extras", q.Extras, o.Extras).Hard...)
	environment := matchFacts(groupEnvironment, q.Environment, c.Key.Environment)
	hard = append(hard, environment.Hard...)
	a.Differences = environment.Soft
	if len(environment.Soft) > 0 {
		a.Match = MatchSoft
	}
	workload := strict("workload", q.Workload, c.Key.Workload)
	for _, d := range workload.Hard {
		steps, numeric := ratio(d.Asked, d.Recorded)
		if !q.Nearest || !numeric {
			hard = append(hard, d)
			continue
		}
		a.Match = MatchNearest
		a.Distance += steps
		a.Differences = append(a.Differences, d)
	}
	return a, hard
}

func only(fact, asked, recorded string) []Difference {
	if asked == recorded {
		return nil
	}
	return []Difference{{fact, asked, recorded}}
}

func firstText(v any) string {
	if list, ok := v.([]any); ok && len(list) > 0 {
		return text(list[0])
	}
	return ""
}

// ratio is how many doublings lie between two positive numbers, or between the
// numbers of two lists of the same length.
func ratio(a, b any) (float64, bool) {
	x, ok := positive(a)
	y, ok2 := positive(b)
	if ok && ok2 {
		return math.Abs(math.Log2(x / y)), true
	}
	list, ok := a.([]any)
	other, ok2 := b.([]any)
	if !ok || !ok2 || len(list) != len(other) {
		return 0, false
	}
	total := 0.0
	for i := range list {
		steps, numeric := ratio(list[i], other[i])
		if !numeric && !equal(list[i], other[i]) {
			return 0, false
		}
		total += steps
	}
	return total, true
}

func positive(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), v > 0
	case float64:
		return v, v > 0
	}
	return 0, false
}

// better orders answers: an operator's pin before all, then the nearest
// workload, what agrees in most facts, what is confirmed, the newest. Digests
// break ties, so that the order is one.
func better(a, b Answer) int {
	return cmp.Or(first(a.Pinned, b.Pinned), cmp.Compare(a.Distance, b.Distance),
		cmp.Compare(len(a.Differences), len(b.Differences)), first(a.Confirmed, b.Confirmed),
		b.MeasuredAt.Compare(a.MeasuredAt), cmp.Compare(a.Digest, b.Digest))
}

func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// apart says whether two environments that answer the same question are known
// to be different places, and by which fact: a winner of one must not be
// handed to the other by chance. A fact the question leaves to chance with "*"
// does not count.
func apart(q Question, a, b Facts) (string, bool) {
	for _, d := range matchFacts(groupEnvironment, a, b).Hard {
		name := strings.TrimPrefix(d.Fact, groupEnvironment+".")
		if q.Environment[name] == nil {
			return fmt.Sprintf("%s, which is %s for one and %s for another", d.Fact, text(d.Asked), text(d.Recorded)), true
		}
	}
	return "", false
}
