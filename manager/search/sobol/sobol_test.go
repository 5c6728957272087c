package sobol_test

import (
	"testing"

	"github.com/fleetune/fleetune/manager/search/sobol"
)

// TestEveryBinaryIntervalIsHit checks the defining property in one dimension:
// each block of 2^k points puts one into every interval of length 2^-k.
func TestEveryBinaryIntervalIsHit(t *testing.T) {
	const k = 8
	s := sobol.New(60, 42)
	for block := range uint32(3) {
		hits := make([]map[int]bool, 60)
		for i := range uint32(1 << k) {
			for d, u := range s.At(block<<k + i) {
				if hits[d] == nil {
					hits[d] = map[int]bool{}
				}
				hits[d][int(u*(1<<k))] = true
			}
		}
		for d := range hits {
			if len(hits[d]) != 1<<k {
				t.Errorf("dimension %d, block %d: %d of %d intervals", d, block, len(hits[d]), 1<<k)
			}
		}
	}
}

// TestPairsAreBalanced checks the first two dimensions: 2^8 points put one
// into every box of 16 by 16, a (0,8,2)-net.
func TestPairsAreBalanced(t *testing.T) {
	s := sobol.New(2, 7)
	boxes := map[[2]int]bool{}
	for i := range uint32(256) {
		u := s.At(i)
		boxes[[2]int{int(u[0] * 16), int(u[1] * 16)}] = true
	}
	if len(boxes) != 256 {
		t.Errorf("%d of 256 boxes", len(boxes))
	}
}

func TestSeedsDiffer(t *testing.T) {
	a, b := sobol.New(3, 1).At(5), sobol.New(3, 2).At(5)
	if a[0] == b[0] && a[1] == b[1] {
		t.Error("two seeds give the same point")
	}
}
