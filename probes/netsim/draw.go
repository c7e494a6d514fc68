package netsim

import (
	"math"
	"time"
)

// purpose keeps the draws for one packet apart, so that one decision never shifts another.
type purpose uint64

const (
	drawLoss purpose = iota + 1
	drawChain
	drawDuplicate
	drawReorder
	drawJitter
	drawAngle
	drawSegmentLoss
	drawSegmentJitter
	drawNoise
	drawLayout
)

// uniform draws from [0, 1). The value depends on its arguments and on nothing else.
func uniform(seed, n uint64, p purpose) float64 {
	x := mix(seed + mix(uint64(p)))
	x = mix(x ^ mix(n+0x9e3779b97f4a7c15))
	return float64(x>>11) / (1 << 53)
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection in which every input bit moves every output
// bit with a probability near one half.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// normal draws from the standard normal distribution (Box and Muller 1958).
func normal(seed, n uint64, p purpose) float64 {
	u := 1 - uniform(seed, n, p)
	v := uniform(seed, n, p+drawAngle<<8)
	return math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*v)
}

// jitter draws the additional delay of packet n.
func (s *State) jitter(seed, n uint64, p purpose) time.Duration {
	if s.Jitter <= 0 {
		return 0
	}
	var x float64
	switch s.Shape {
	case Exponential:
		x = min(-math.Log(1-uniform(seed, n, p)), 10)
	case HalfNormal:
		x = math.Abs(normal(seed, n, p))
	default:
		x = uniform(seed, n, p)
	}
	return time.Duration(x * float64(s.Jitter))
}
