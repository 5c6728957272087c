package pareto

import (
	"container/heap"
	"math"
)

// Subset returns positions of n points that together dominate much volume below
// the reference, in the order in which they were taken: each time the one that
// adds most (Guerreiro, Fonseca and Paquete, "Greedy hypervolume subset
// selection in low dimensions", 2016), which is within 1 - 1/e of the best
// choice. What a point adds only shrinks while others are taken, so most are
// not looked at again.
func Subset(points [][]float64, reference []float64, n int) []int {
	queue := make(gains, 0, len(points))
	for i, p := range points {
		queue = append(queue, gain{at: i, adds: box(p, reference), seen: 0})
	}
	heap.Init(&queue)
	var out []int
	var taken [][]float64
	for len(out) < n && len(queue) > 0 {
		top := &queue[0]
		if top.seen < len(taken) {
			top.adds, top.seen = adds(points[top.at], taken, reference), len(taken)
			heap.Fix(&queue, 0)
			continue
		}
		out, taken = append(out, top.at), append(taken, points[top.at])
		heap.Pop(&queue)
	}
	return out
}

// adds is the volume that a point dominates and the taken ones do not.
func adds(p []float64, taken [][]float64, reference []float64) float64 {
	shared := make([][]float64, len(taken))
	for i, q := range taken {
		shared[i] = make([]float64, len(p))
		for k := range p {
			shared[i][k] = max(p[k], q[k])
		}
	}
	return box(p, reference) - Hypervolume(shared, reference)
}

// box is the volume that one point dominates.
func box(p, reference []float64) float64 {
	product := 1.0
	for k, v := range p {
		if !(v < reference[k]) {
			return 0
		}
		product *= reference[k] - v
	}
	if math.IsNaN(product) {
		return 0
	}
	return product
}

// A gain is what a point added when that many points were taken.
type gain struct {
	at   int
	adds float64
	seen int
}

// gains is a heap, the largest first, then in the order of the points.
type gains []gain

func (g gains) Len() int { return len(g) }
func (g gains) Less(i, j int) bool {
	if g[i].adds != g[j].adds {
		return g[i].adds > g[j].adds
	}
	return g[i].at < g[j].at
}
func (g gains) Swap(i, j int) { g[i], g[j] = g[j], g[i] }
func (g *gains) Push(x any) {
	added := x.(gain)
	*g = append(*g, added)
}
func (g *gains) Pop() any {
	last := (*g)[len(*g)-1]
	*g = (*g)[:len(*g)-1]
	return last
}
