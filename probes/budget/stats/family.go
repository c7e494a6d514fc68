package stats

import "slices"

// Holm says which of several hypotheses are refused when the probability of refusing any true one is to be at most alpha,
// given the p-value of each, whatever the dependence among them: Holm, Scandinavian Journal of Statistics 6 (1979) 65.
// adjusted are the p-values that may be compared with alpha one by one.
func Holm(p []float64) (adjusted []float64) {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case p[a] < p[b]:
			return -1
		case p[a] > p[b]:
			return 1
		default:
			return 0
		}
	})
	adjusted = make([]float64, len(p))
	running := 0.0
	for i, k := range order {
		running = max(running, min(1, p[k]*float64(len(p)-i)))
		adjusted[k] = running
	}
	return adjusted
}
