package agentic

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// ledger mints the markers of a run. A marker belongs to a tree for as long as
// it lives, over all phases; a trace's passes are counted once for the run.
type ledger struct {
	benchmark string
	passes    map[string]int
	minted    map[*live]string
}

func newLedger(benchmark string) *ledger {
	return &ledger{benchmark: benchmark, passes: map[string]int{}, minted: map[*live]string{}}
}

// marker returns a tree's marker, and mints it at the first call.
func (l *ledger) marker(t *live) string {
	if m, ok := l.minted[t]; ok {
		return m
	}
	base, _, _ := strings.Cut(t.tree.ID, "::")
	pass := l.passes[base]
	l.passes[base]++
	sum := sha256.Sum256(fmt.Appendf(nil, "%s:%d:%d:%s", l.benchmark, pass, t.lane, base))
	m := "[rid:" + hex.EncodeToString(sum[:])[:12] + "]"
	l.minted[t] = m
	return m
}

// forget drops a tree that is over; its marker is never minted again, for the
// pass counter has moved on.
func (l *ledger) forget(t *live) { delete(l.minted, t) }
