package conversation

import (
	"fmt"
	"math/rand/v2"
	"sync"
)

// Order says in which order a dataset's conversations are played.
type Order string

// The orders.
const (
	Sequential Order = "sequential" // in file order, then from the start again
	Random     Order = "random"     // with replacement
	Shuffle    Order = "shuffle"    // each once in random order, then shuffled again
)

// ParseOrder reads an order; empty means sequential.
func ParseOrder(s string) (Order, error) {
	switch o := Order(s); o {
	case "":
		return Sequential, nil
	case Sequential, Random, Shuffle:
		return o, nil
	}
	return "", fmt.Errorf("sampling order %q: use sequential, random or shuffle", s)
}

// A Source gives conversations to play, without end. It is safe for
// concurrent use.
type Source interface {
	Next() *Conversation
}

// Dataset is a finite list of conversations as a source.
type Dataset struct {
	mu    sync.Mutex
	all   []*Conversation
	order Order
	rng   *rand.Rand
	perm  []int
	next  int
}

// NewDataset returns a source over conversations, of which there must be one.
func NewDataset(all []*Conversation, order Order, seed int64) (*Dataset, error) {
	if len(all) == 0 {
		return nil, fmt.Errorf("the dataset is empty")
	}
	return &Dataset{all: all, order: order, rng: Rand(Seed(seed, "dataset sampler"))}, nil
}

// All returns the conversations in file order.
func (d *Dataset) All() []*Conversation { return d.all }

// Next returns the next conversation by the dataset's order.
func (d *Dataset) Next() *Conversation {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := d.next % len(d.all)
	switch d.order {
	case Random:
		at = d.rng.IntN(len(d.all))
	case Shuffle:
		if at == 0 {
			d.perm = d.rng.Perm(len(d.all))
		}
		at = d.perm[at]
	}
	d.next++
	return d.all[at]
}
