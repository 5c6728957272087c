package agentic

import "github.com/fleetune/fleetune/worker/load/tree"

// pool hands traces to lanes. A trace may be live as often as lanes started
// on it, and once if none did.
type pool struct {
	order    []*tree.Tree // drawn from the front, put back at the end
	capacity map[*tree.Tree]int
	live     map[*tree.Tree]int
}

// newPool makes a pool in which all lanes' first claims exist already.
func newPool(trees []*tree.Tree, claims []trajectory) *pool {
	p := &pool{capacity: map[*tree.Tree]int{}, live: map[*tree.Tree]int{}}
	for _, t := range trees {
		p.capacity[t] = 1
	}
	initial := map[*tree.Tree]int{}
	for _, c := range claims {
		initial[c.tree]++
		p.live[c.tree]++
	}
	for t, n := range initial {
		p.capacity[t] = max(p.capacity[t], n)
	}
	// Traces that no lane started on come first.
	for _, t := range trees {
		if initial[t] == 0 {
			p.order = append(p.order, t)
		}
	}
	for _, t := range trees {
		if initial[t] > 0 {
			p.order = append(p.order, t)
		}
	}
	return p
}

// release ends a claim.
func (p *pool) release(t *tree.Tree) {
	if p.live[t] == 0 {
		panic("agentic: a trace was released that was not live")
	}
	p.live[t]--
}

// draw claims the first trace that may be live once more; nil when there is
// none, which leaves the pool as it was.
func (p *pool) draw() *tree.Tree {
	for i, t := range p.order {
		if p.live[t] >= p.capacity[t] {
			continue
		}
		p.order = append(append(p.order[:i:i], p.order[i+1:]...), t)
		p.live[t]++
		return t
	}
	return nil
}
