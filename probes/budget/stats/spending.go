package stats

import "slices"

// Spending is when a sequential check may look at what came in so far, and how much of its error probability each look
// may spend. The weights add up to no more than 1, so that by the union bound the probability that any look errs is at most the error
// probability, whatever the looks have to do with one another and whenever the check is stopped: alpha spending after Lan
// and DeMets, Biometrika 70 (1983) 659, without their assumption about the joint distribution of the looks. A p-value
// divided by the weight of its look is valid at any stop, and so is the smallest of them.
//
// Bets against the null (Waudby-Smith and Ramdas, JRSS B 86 (2024) 1) would need no plan of looks, but need samples whose
// mean given the past is known under the null, and samples that follow one another on a radio link have none.
type Spending struct {
	// Looks are fractions of the longest duration, ascending; the last one is 1.
	Looks []float64
	// Fail and Pass have the share of each look in the probability of a wrong failure and of a wrong pass. A look without a
	// share cannot end that way. Passes before the end leave Unseen of theirs to what statistics cannot see.
	Fail, Pass []float64
}

// FixedSample looks once, at the end.
func FixedSample() Spending {
	return Spending{Looks: []float64{1}, Fail: []float64{1}, Pass: []float64{1}}
}

// Unseen is the share in the probability of a wrong pass that an early pass leaves to trouble which has not come yet.
const Unseen = 0.25

// Sequential looks seven times, and spends the largest part that it spends early after two fifths of the time, where most
// links that are well inside or outside their budgets are settled; another part is for the end, where what is near its budget
// is decided. The first looks are for what is plainly broken: nothing passes before a quarter of the time.
func Sequential() Spending {
	return Spending{
		Looks: []float64{0.0625, 0.125, 0.25, 0.4, 0.6, 0.75, 1},
		Fail:  []float64{0.05, 0.05, 0.1, 0.4, 0.05, 0.05, 0.3},
		Pass:  []float64{0, 0, 0.05, 0.35, 0.05, 0.05, 0.25},
	}
}

// Due is the number of looks whose time has come when a fraction of the longest duration has passed.
func (s Spending) Due(fraction float64) int {
	n, found := slices.BinarySearch(s.Looks, fraction)
	if found {
		n++
	}
	return n
}
