package dataset

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/fleetune/fleetune/worker/load/conversation"
)

// Choice says which part of a dataset is taken.
type Choice string

// The choices.
const (
	First      Choice = "sequential" // the first rows
	Random     Choice = "random"     // any rows, each once, in file order
	Stratified Choice = "stratified" // as many of every stratum as its share
)

// ParseChoice reads a choice; empty is sequential.
func ParseChoice(s string) (Choice, error) {
	switch c := Choice(s); c {
	case "":
		return First, nil
	case First, Random, Stratified:
		return c, nil
	}
	return "", fmt.Errorf("sample %q: use sequential, random or stratified", s)
}

// row is a conversation with what it is chosen by.
type row struct {
	conv    *conversation.Conversation
	stratum string
}

// deduplicate keeps the first of rows that send the same.
func deduplicate(rows []row) []row {
	seen := map[[sha256.Size]byte]bool{}
	return slices.DeleteFunc(rows, func(r row) bool {
		h := sha256.New()
		for i := range r.conv.Turns {
			t := &r.conv.Turns[i]
			part := func(b []byte) {
				_, _ = h.Write(strconv.AppendInt(nil, int64(len(b)), 10)) // a hash takes every write
				_, _ = h.Write([]byte{0})
				_, _ = h.Write(b)
			}
			part(t.Raw)
			for _, m := range t.Messages {
				part([]byte(m.Role))
				part(m.Content)
			}
		}
		sum := [sha256.Size]byte(h.Sum(nil))
		if seen[sum] {
			return true
		}
		seen[sum] = true
		return false
	})
}

// sample takes n rows and keeps their order; 0 or more than there are takes
// all.
func sample(rows []row, n int, by Choice, seed int64) []row {
	if n <= 0 || n >= len(rows) {
		return rows
	}
	rng := conversation.Rand(conversation.Seed(seed, "dataset sample"))
	var keep []int
	switch by {
	case Random:
		keep = rng.Perm(len(rows))[:n]
	case Stratified:
		keep = stratified(rows, n, rng)
	default:
		return rows[:n]
	}
	slices.Sort(keep)
	out := make([]row, n)
	for i, at := range keep {
		out[i] = rows[at]
	}
	return out
}

// stratified draws from every stratum by its share of the rows, what rounding
// leaves over going to those with the largest remainders.
func stratified(rows []row, n int, rng *rand.Rand) []int {
	strata, names := map[string][]int{}, []string(nil)
	for i, r := range rows {
		if strata[r.stratum] == nil {
			names = append(names, r.stratum)
		}
		strata[r.stratum] = append(strata[r.stratum], i)
	}
	take, left := make([]int, len(names)), n
	for i, name := range names {
		take[i] = len(strata[name]) * n / len(rows)
		left -= take[i]
	}
	order := make([]int, len(names))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return len(strata[names[b]])*n%len(rows) - len(strata[names[a]])*n%len(rows)
	})
	for _, i := range order[:left] {
		take[i]++
	}
	var keep []int
	for i, name := range names {
		of := strata[name]
		for _, at := range rng.Perm(len(of))[:take[i]] {
			keep = append(keep, of[at])
		}
	}
	return keep
}

// byLength puts rows into ten strata of equal size by the length of their
// prompts.
func byLength(rows []row) {
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return tokens(rows[a].conv) - tokens(rows[b].conv) })
	const deciles = 10
	for at, i := range order {
		rows[i].stratum = "length decile " + strconv.Itoa(at*deciles/len(rows)+1)
	}
}

func tokens(c *conversation.Conversation) int { return c.Turns[len(c.Turns)-1].InputTokens }
