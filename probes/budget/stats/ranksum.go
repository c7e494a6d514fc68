package stats

import (
	"math"
	"slices"
)

// RankSum is the two-sided p-value of the test of Mann and Whitney, Annals of Mathematical Statistics 18 (1947) 50, in its
// normal approximation with correction for ties and continuity: what benchmark tools use. It holds for independent samples
// only, which those of a radio link are not; it is here to show how often it then cries wolf.
func RankSum(a, b []float64) float64 {
	type mark struct {
		v     float64
		fromA bool
	}
	all := make([]mark, 0, len(a)+len(b))
	for _, v := range a {
		all = append(all, mark{v, true})
	}
	for _, v := range b {
		all = append(all, mark{v, false})
	}
	slices.SortFunc(all, func(x, y mark) int {
		switch {
		case x.v < y.v:
			return -1
		case x.v > y.v:
			return 1
		default:
			return 0
		}
	})
	n1, n2 := float64(len(a)), float64(len(b))
	n := n1 + n2
	ranks, ties := 0.0, 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].v == all[i].v {
			j++
		}
		t := float64(j - i)
		ties += t*t*t - t
		for _, m := range all[i:j] {
			if m.fromA {
				ranks += float64(i+j+1) / 2
			}
		}
		i = j
	}
	u := ranks - n1*(n1+1)/2
	sigma := math.Sqrt(n1 * n2 / 12 * (n + 1 - ties/(n*(n-1))))
	if sigma == 0 || math.IsNaN(sigma) {
		return 1
	}
	z := (math.Abs(u-n1*n2/2) - 0.5) / sigma
	return min(1, 2*NormalTail(max(0, z)))
}
