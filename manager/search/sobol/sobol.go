// Package sobol gives scrambled Sobol' points: points of the unit cube that
// fill it more evenly than random ones, the first n of them for every n.
package sobol

import "math/bits"

// A Sequence of scrambled Sobol' points. It is immutable.
type Sequence struct {
	directions [][32]uint32
	seeds      []uint32
}

// New prepares the sequence of a dimension; the seed chooses the scrambling.
func New(dimensions int, seed uint64) *Sequence {
	s := &Sequence{directions: make([][32]uint32, dimensions), seeds: make([]uint32, dimensions)}
	polynomials := primitive(dimensions)
	for d := range dimensions {
		s.seeds[d] = uint32(mix(seed + uint64(d+1)*0x9e3779b97f4a7c15))
		s.directions[d] = direction(d, polynomials)
	}
	return s
}

// At returns point i (0, 1, …, 2^32-1).
func (s *Sequence) At(i uint32) []float64 {
	u := make([]float64, len(s.directions))
	for d := range u {
		x := uint32(0)
		for k, rest := 0, i; rest != 0; k, rest = k+1, rest>>1 {
			if rest&1 != 0 {
				x ^= s.directions[d][k]
			}
		}
		u[d] = float64(scramble(x, s.seeds[d])) / (1 << 32)
	}
	return u
}

// scramble permutes the binary intervals of every length among themselves
// (Owen's nested uniform scrambling), by a hash in which each bit depends on
// higher bits alone (Burley, "Practical hash-based Owen scrambling", 2020).
func scramble(x, seed uint32) uint32 {
	x = bits.Reverse32(x)
	x ^= x * 0x3d20adea
	x += seed
	x *= seed>>16 | 1
	x ^= x * 0x05526c56
	x ^= x * 0x53a22864
	return bits.Reverse32(x)
}

// direction computes the direction numbers of dimension d by the recurrence of
// Bratley and Fox, "Algorithm 659", 1988.
func direction(d int, polynomials []uint32) (v [32]uint32) {
	if d == 0 {
		for k := range v {
			v[k] = 1 << (31 - k)
		}
		return v
	}
	p := polynomials[d-1]
	degree := bits.Len32(p) - 1
	for k := range v {
		if k < degree {
			v[k] = initial(d, k) << (31 - k)
			continue
		}
		v[k] = v[k-degree] ^ v[k-degree]>>degree
		for j := 1; j < degree; j++ {
			if p>>(degree-j)&1 != 0 {
				v[k] ^= v[k-j]
			}
		}
	}
	return v
}

// initial is an odd number below 2^(k+1): for the first dimensions those of
// Joe and Kuo, "Constructing Sobol sequences with better two-dimensional
// projections", 2008; every odd choice gives a Sobol' sequence.
func initial(d, k int) uint32 {
	known := [][]uint32{
		{1}, {1, 3}, {1, 3, 1}, {1, 1, 1}, {1, 1, 3, 3}, {1, 3, 5, 13}, {1, 1, 5, 5, 17}, {1, 1, 5, 5, 5},
		{1, 1, 7, 11, 19}, {1, 1, 5, 1, 1}, {1, 1, 1, 3, 11}, {1, 3, 5, 5, 31}, {1, 3, 3, 9, 7, 49}, {1, 1, 1, 15, 21, 21},
		{1, 3, 1, 13, 27, 49}, {1, 1, 1, 15, 7, 5}, {1, 3, 1, 15, 13, 25}, {1, 1, 5, 5, 19, 61}, {1, 3, 7, 11, 23, 15, 103},
		{1, 3, 7, 13, 13, 15, 69},
	}
	if d-1 < len(known) {
		return known[d-1][k]
	}
	return uint32(mix(uint64(d)<<32|uint64(k)))&(1<<(k+1)-1) | 1
}

// primitive lists the first n primitive polynomials over GF(2), bit k standing
// for x^k, by degree and then by value.
func primitive(n int) []uint32 {
	var out []uint32
	for degree := 1; len(out) < n; degree++ {
		for p := uint32(1)<<degree | 1; p < 1<<(degree+1) && len(out) < n; p += 2 {
			if isPrimitive(p, degree) {
				out = append(out, p)
			}
		}
	}
	return out
}

// isPrimitive says whether x has the full order 2^degree-1 modulo p.
func isPrimitive(p uint32, degree int) bool {
	order := uint32(1)<<degree - 1
	x := uint32(1)
	for k := uint32(1); k <= order; k++ {
		if x <<= 1; x>>degree&1 != 0 {
			x ^= p
		}
		if x == 1 {
			return k == order
		}
	}
	return false
}

// mix is the finaliser of splitmix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
