package budget

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nrprobe/nrprobe/probes/budget/stats"
)

// packetInterval is the time between packets of simulated links.
const packetInterval = 50 * time.Millisecond

// simulated is a link whose round-trip times the gate is tried on, in seconds, one packet each packetInterval.
type simulated struct {
	name string
	draw func(r *rand.Rand, n int) []float64
	rare bool // its tail is made of rare events
	// quantile is exact, from the law of the link; nil where that is not known.
	quantile func(q float64) float64
}

// links are the four kinds of noise that a gate has to live with. The first three have a median of 16 ms and a p95 of 23 ms
// or somewhat more, like the n78 runs of CICV5G; handovers come every 20 s on average, last 0.5 to 2.5 s and add 20 to
// 120 ms that decay; the last has infinite variance.
func links() []simulated {
	return []simulated{
		{name: "independent", draw: func(r *rand.Rand, n int) []float64 { return rtts(autoregressive(r, n, 0)) }, quantile: lognormal},
		{name: "AR(1), ρ = 0.6", draw: func(r *rand.Rand, n int) []float64 { return rtts(autoregressive(r, n, 0.6)) }, quantile: lognormal},
		{name: "handover bursts", draw: func(r *rand.Rand, n int) []float64 { return handovers(r, n, handoverGap) }, rare: true},
		{name: "Pareto, α = 1.5", draw: pareto, quantile: func(q float64) float64 { return 0.01 * math.Pow(1-q, -1/1.5) }},
	}
}

// autoregressive is a standard normal AR(1) process with correlation rho between neighbours.
func autoregressive(r *rand.Rand, n int, rho float64) []float64 {
	v := make([]float64, n)
	x := r.NormFloat64()
	for i := range v {
		v[i] = x
		x = rho*x + math.Sqrt(1-rho*rho)*r.NormFloat64()
	}
	return v
}

// rtts makes round-trip times of standard normal values: a floor of 8 ms and a log-normal part above it.
func rtts(z []float64) []float64 {
	for i := range z {
		z[i] = 0.008 + 0.008*math.Exp(0.4*z[i])
	}
	return z
}

// lognormal is the q-quantile of rtts of standard normal values.
func lognormal(q float64) float64 { return 0.008 + 0.008*math.Exp(0.4*stats.NormalQuantile(q)) }

// handoverGap is the mean number of packets from the end of one handover to the next: 20 s.
const handoverGap = 400

// handovers is the AR(1) link with bursts of delay at Poisson times.
func handovers(r *rand.Rand, n int, gap float64) []float64 {
	const warm = 100 // so that a burst may be under way at the start
	v := rtts(autoregressive(r, n+warm, 0.6))
	for i := int(r.ExpFloat64() * gap); i < len(v); i += 1 + int(r.ExpFloat64()*gap) {
		length, height := 10+r.IntN(41), 0.02+0.1*r.Float64()
		for k := range min(length, len(v)-i) {
			v[i+k] += height * float64(length-k) / float64(length)
		}
		i += length
	}
	return v[warm:]
}

func pareto(r *rand.Rand, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = 0.01 * math.Pow(1-r.Float64(), -1/1.5)
	}
	return v
}

// truth are quantiles of a link: exact, or from a long run.
func (l simulated) truth(qs ...float64) []float64 {
	list := make([]float64, len(qs))
	var long []float64
	if l.quantile == nil {
		long = l.draw(rand.New(rand.NewPCG(99, 1)), 4_000_000)
		slices.Sort(long)
	}
	for i, q := range qs {
		if l.quantile != nil {
			list[i] = l.quantile(q)
		} else {
			list[i] = long[int(math.Ceil(q*float64(len(long))))-1]
		}
	}
	return list
}

// scaled is v times a factor.
func scaled(v []float64, factor float64) []float64 {
	w := slices.Clone(v)
	for i := range w {
		w[i] *= factor
	}
	return w
}
