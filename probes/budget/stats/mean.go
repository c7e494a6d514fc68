package stats

import "math"

// Mean judges the mean of a record by batch means: the means of few long batches are taken for independent and normal, and
// bounded by Student's t (Law, Simulation Modeling and Analysis, 5th ed., section 9.5.3). The worse of 10 and 20 batches
// counts. It converges slowly for heavy tails; quantiles are the better budget.
type Mean struct {
	// N is the number of values.
	N float64
	// Effect is the design effect.
	Effect float64

	mean, se, df float64
}

// NewMean prepares the mean of values in the order of time. Infinite values have to be taken out before. Fewer than
// FewBatches values count as independent.
func NewMean(inTime []float64) *Mean {
	m := &Mean{N: float64(len(inTime)), Effect: 1, se: math.Inf(1)}
	var spread float64
	for _, v := range inTime {
		m.mean += v / m.N
	}
	for _, v := range inTime {
		spread += (v - m.mean) * (v - m.mean)
	}
	if len(inTime) < 2 {
		return m
	}
	independent := math.Sqrt(spread / (m.N - 1) / m.N)
	m.se, m.df = independent, m.N-1
	for _, b := range []int{FewBatches, ManyBatches} {
		if len(inTime) < b {
			break
		}
		m.df = float64(b - 1)
		m.se = max(m.se, m.batchError(inTime, b))
	}
	if independent > 0 {
		m.Effect = m.se * m.se / (independent * independent)
	}
	return m
}

// batchError is the standard error of the mean from b batches.
func (m *Mean) batchError(inTime []float64, b int) float64 {
	sums, sizes := make([]float64, b), make([]float64, b)
	for i, v := range inTime {
		j := i * b / len(inTime)
		sums[j] += v
		sizes[j]++
	}
	total := 0.0
	for j := range sums {
		e := sums[j] - m.mean*sizes[j]
		total += e * e
	}
	return math.Sqrt(float64(b)/float64(b-1)*total) / m.N
}

// Estimate is the mean.
func (m *Mean) Estimate() float64 { return m.mean }

// Upper is the upper confidence bound with error probability alpha.
func (m *Mean) Upper(alpha float64) float64 { return m.mean + m.width(alpha) }

// Lower is the lower confidence bound with error probability alpha.
func (m *Mean) Lower(alpha float64) float64 { return m.mean - m.width(alpha) }

func (m *Mean) width(alpha float64) float64 {
	if math.IsInf(m.se, 1) {
		return m.se
	}
	return StudentQuantile(alpha, m.df) * m.se
}
