package netsim

import "time"

// State is how one direction of a link behaves at one moment. Its zero value is a perfect link: no delay, no loss, no
// limit. Sizes are bytes of UDP or TCP payload; headers cost nothing.
type State struct {
	// Delay is the propagation delay.
	Delay time.Duration
	// Jitter is added to Delay, drawn anew for each packet from Shape. Packets keep their order all the same: one that is
	// late holds up those behind it, as the in-order delivery of a radio bearer does.
	Jitter time.Duration
	// Shape is how Jitter is distributed.
	Shape Shape
	// Loss is the share of datagrams lost, in [0, 1].
	Loss float64
	// Burst loses datagrams in runs; its zero value loses none.
	Burst Burst
	// Duplicate is the share of datagrams that arrive twice, in [0, 1].
	Duplicate float64
	// Reorder is the share of datagrams, in [0, 1], that are held back by ReorderBy while later ones overtake them.
	Reorder   float64
	ReorderBy time.Duration
	// Overtake lets a packet arrive before one that was sent earlier when the delay has become shorter meanwhile.
	Overtake bool
	// Rate is how many bytes leave per second; 0 for no limit.
	Rate float64
	// Queue is how many bytes may wait for their turn, the one being sent included; a datagram that finds no room is
	// dropped. 0 for no limit. It has no meaning without Rate.
	Queue int
	// MTU is the largest datagram; larger ones are dropped without a word. 0 for no limit.
	MTU int
	// Stall is how much longer nothing leaves: packets wait and go out afterwards, as they do in a handover with data
	// forwarding. The queue's limit holds meanwhile.
	Stall time.Duration
	// Down is an outage: datagrams that want to leave are lost.
	Down bool
}

// At implements Profile: a link that never changes.
func (s State) At(time.Duration) State { return s }

// Shape is a distribution of jitter.
type Shape uint8

// The shapes.
const (
	// Uniform draws from 0 to Jitter.
	Uniform Shape = iota
	// Exponential draws with the mean Jitter, cut off at ten times that.
	Exponential
	// HalfNormal draws the magnitude of a normal distribution whose standard deviation is Jitter.
	HalfNormal
)

// Burst is the Gilbert-Elliott model of loss in runs (Gilbert 1960, Elliott 1963): a chain of two states that may change
// before each datagram. In the good state, where it begins, State.Loss applies.
type Burst struct {
	// Enter is the probability to change from good to bad, Leave from bad to good. The mean run in the bad state is
	// 1/Leave datagrams.
	Enter, Leave float64
	// Loss is the share of datagrams lost in the bad state.
	Loss float64
}

// Profile says how a link behaves over time. At must be a pure function of elapsed, the time since the link began: it is
// asked about moments to come, out of order, and by many goroutines.
type Profile interface {
	At(elapsed time.Duration) State
}

// ProfileFunc is a function that is a Profile.
type ProfileFunc func(elapsed time.Duration) State

// At implements Profile.
func (f ProfileFunc) At(elapsed time.Duration) State { return f(elapsed) }

// Interval is a stretch of time on a link, from its beginning: Start included, End not.
type Interval struct{ Start, End time.Duration }

// contains says whether the moment lies within.
func (i Interval) contains(t time.Duration) bool { return i.Start <= t && t < i.End }

// WithOutages returns the profile with blackholes: during each interval every datagram is lost.
func WithOutages(p Profile, outages ...Interval) Profile {
	return ProfileFunc(func(elapsed time.Duration) State {
		s := p.At(elapsed)
		for _, o := range outages {
			if o.contains(elapsed) {
				s.Down = true
			}
		}
		return s
	})
}

// WithStalls returns the profile with interruptions: during each interval nothing leaves, and what came meanwhile leaves
// at its end.
func WithStalls(p Profile, stalls ...Interval) Profile {
	return ProfileFunc(func(elapsed time.Duration) State {
		s := p.At(elapsed)
		for _, o := range stalls {
			if o.contains(elapsed) {
				s.Stall = max(s.Stall, o.End-elapsed)
			}
		}
		return s
	})
}
