package sequence

import "math/bits"

// A permutation of 0…n-1 without a table: four Feistel rounds over the
// smallest even number of bits that holds n, walked until the result is below
// n (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).
type permutation struct {
	n    uint64
	half int
	keys [4]uint64
}

func newPermutation(n, seed uint64) permutation {
	p := permutation{n: n, half: max(1, (bits.Len64(max(n, 1)-1)+1)/2)}
	for i := range p.keys {
		p.keys[i] = mix(seed + uint64(i+1)*0x9e3779b97f4a7c15)
	}
	return p
}

// at returns the element at a position below n.
func (p permutation) at(position uint64) uint64 {
	x := position
	for {
		if x = p.encrypt(x); x < p.n {
			return x
		}
	}
}

func (p permutation) encrypt(x uint64) uint64 {
	mask := uint64(1)<<p.half - 1
	left, right := x>>p.half, x&mask
	for _, key := range p.keys {
		left, right = right, left^mix(right^key)&mask
	}
	return left<<p.half | right
}

// mix is the finaliser of splitmix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
