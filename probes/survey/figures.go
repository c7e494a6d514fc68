package survey

import (
	"math"
	"slices"

	"github.com/nrprobe/nrprobe/probes"
)

// grade is a letter and the added delay from which on it is not given any more, in seconds.
type grade struct {
	letter string
	below  float64
}

// grades are the letters for the delay that load adds to the median round trip, as line tests on the web give them.
func grades() []grade {
	return []grade{{"A+", 0.005}, {"A", 0.030}, {"B", 0.060}, {"C", 0.200}, {"D", 0.400}, {"F", math.Inf(1)}}
}

// Definitions say what the card's words mean. The command's help and the page print them.
const Definitions = `Added delay is the median round trip while the link is loaded less the median on the idle link just before;
the idle link is measured behind a warm-up, with the radio awake, and the start of a load is left out.
Packets are stamped by the programs at both ends, so that the queues of both machines count.
Grades are given for the added delay: A+ below 5 ms, A below 30, B below 60, C below 200, D below 400, F from
400 ms on; the overall grade is the worst of them. They are a convention of line tests on the web, not a standard.
RPM, round trips per minute, is 60 s divided by the median round trip of single small packets. It is not the
responsiveness of draft-ietf-ippm-responsiveness, which also counts connection set-up, TLS and HTTP, averages
over the fastest 95 % and comes out lower: compare RPM with RPM of this command only.
Rates are what the receiver counted above transport headers, without the ramp; 1 Mbit/s is 1,000,000 bit/s.
A rate is limited by what the sender's kernel says held it back for longest, or for QUIC, by the path where the
sender moved at least half of its congestion window each round trip, and by the sending program where it did not.
Lost and longest gap are of single packets sent every 10 ms; a gap is the time between two that arrived, less 10 ms.`

// letter is the grade for an added delay in seconds.
func letter(added float64) string {
	for _, g := range grades() {
		if added < g.below {
			return g.letter
		}
	}
	return grades()[len(grades())-1].letter
}

// worse says whether grade a is worse than b; "" is better than all.
func worse(a, b string) bool {
	rank := func(l string) int { return slices.IndexFunc(grades(), func(g grade) bool { return g.letter == l }) }
	return rank(a) > rank(b)
}

// loads are the phases in which the link is loaded.
func loads() []string { return []string{down, up, both, quicDown, quicUp} }

// sumUp draws the figures from the phases. It is called once, at the end.
func (r *Report) sumUp() {
	for _, p := range r.Phases {
		for _, x := range p.Results {
			if p.Name != warmUp {
				r.Quality |= x.Quality
			}
			r.Transferred += transferred(x)
		}
	}
	r.Quality &^= probes.LoadConcurrent | probes.CrossTraffic | probes.UserStamps // of what the survey did itself
	r.sumUpLatency()
	r.sumUpRates()
	r.sumUpHandshakes()
}

// The names of the grades that belong to no phase.
const overall = "overall"

func (r *Report) sumUpLatency() {
	calm := r.rtt(idle)
	if calm != nil {
		r.Figures["rpm_idle"] = rpm(calm)
	}
	for _, name := range loads() {
		loaded := r.rtt(name)
		if loaded == nil {
			continue
		}
		r.Figures["rpm_"+name] = rpm(loaded)
		if calm == nil {
			continue
		}
		for _, s := range []probes.Statistic{probes.P50, probes.P95, probes.P99} {
			r.Figures["added_delay_"+name+"_"+string(s)+"_seconds"] = s.Of(loaded) - s.Of(calm)
		}
		r.Grades[name] = letter(probes.P50.Of(loaded) - probes.P50.Of(calm))
		if worse(r.Grades[name], r.Grades[overall]) {
			r.Grades[overall] = r.Grades[name]
		}
	}
	r.sumUpLosses()
}

// sumUpLosses adds up the losses of all phases but the warm-up.
func (r *Report) sumUpLosses() {
	var sent, lost float64
	ways := map[probes.Direction]float64{}
	known := true
	for _, p := range r.Phases {
		x := p.of(kindSTAMP)
		if x == nil || p.Name == warmUp {
			continue
		}
		sent += x.Values[probes.PacketsSent.ValueName(probes.Both, "")]
		lost += x.Values[probes.PacketsLost.ValueName(probes.Both, "")]
		for _, way := range []probes.Direction{probes.Up, probes.Down} {
			v, ok := x.Values[probes.PacketsLost.ValueName(way, "")]
			known = known && ok
			ways[way] += v
		}
		if v, ok := x.Values[probes.Interruption.ValueName(probes.Both, "")]; ok {
			r.Figures["interruption_max_seconds"] = max(v, r.Figures["interruption_max_seconds"])
		}
	}
	if sent == 0 {
		return
	}
	r.Figures["loss_ratio"] = lost / sent
	if known {
		r.Figures["loss_up_ratio"], r.Figures["loss_down_ratio"] = ways[probes.Up]/sent, ways[probes.Down]/sent
	}
}

func (r *Report) sumUpRates() {
	for _, name := range loads() {
		for _, way := range []probes.Direction{probes.Down, probes.Up} {
			if v, ok := r.rate(name, way); ok {
				r.Figures[rateName(name, way)] = v
			}
		}
	}
	for way, names := range map[probes.Direction][2]string{probes.Down: {down, quicDown}, probes.Up: {up, quicUp}} {
		tcp, ok1 := r.rate(names[0], way)
		quic, ok2 := r.rate(names[1], way)
		if ok1 && ok2 && tcp > 0 {
			r.Figures["quic_to_tcp_"+way.String()+"_ratio"] = quic / tcp
		}
	}
}

// rateName is the name of the figure: goodput_tcp_down_…, goodput_quic_up_…, and goodput_both_down_… for both ways at once.
func rateName(phase string, way probes.Direction) string {
	over := map[string]string{down: "tcp", up: "tcp", both: both, quicDown: kindQUIC, quicUp: kindQUIC}[phase]
	return "goodput_" + over + "_" + way.String() + "_bytes_per_second"
}

func (r *Report) sumUpHandshakes() {
	p := r.phase(handshakes)
	if p == nil {
		return
	}
	for _, m := range []*probes.Metric{probes.ConnectTime, probes.HandshakeTime, probes.ResumedTime} {
		all := &probes.Hist{}
		for _, x := range p.Results {
			all.Merge(x.Hists[m.HistName(probes.Both)])
		}
		if all.Count() > 0 {
			r.Figures[m.ValueName(probes.Both, "")] = probes.P50.Of(all)
		}
	}
}

// rtt is the distribution of round trips in a phase; nil when none came back.
func (r *Report) rtt(name string) *probes.Hist {
	p := r.phase(name)
	if p == nil || p.latency() == nil {
		return nil
	}
	return p.latency().Hists[probes.RTT.HistName(probes.Both)]
}

// rate is the goodput of a phase in one direction, in bytes per second.
func (r *Report) rate(name string, way probes.Direction) (float64, bool) {
	p := r.phase(name)
	if p == nil || p.load() == nil {
		return 0, false
	}
	v, ok := p.load().Values[probes.Goodput.ValueName(way, "")]
	return v, ok
}

// limitOf says what kept a load in one direction from being faster. Of TCP its sender's kernel tells. QUIC's congestion
// window grows only while it is what holds data back, so that a sender that moves much less than a window each round trip
// had nothing to send in time. What ended by volume may not have left slow start, of which a window at its end tells nothing.
func limitOf(x *probes.Result, way probes.Direction) string {
	window, rtt := x.Values[probes.CongestionWindow.ValueName(probes.Both, "")], x.Values[probes.TransportRTT.ValueName(probes.Both, "")]
	switch word := x.Info["limited_by_"+way.String()]; {
	case word != "" || x.Info["quic_version"] == "" || x.Info["ended_by"] == "max_bytes" || window <= 0 || rtt <= 0:
		return heldUp(word)
	case x.Values[probes.Goodput.ValueName(way, "")] < window/rtt/2:
		return heldUp("application")
	default:
		return heldUp("congestion_window")
	}
}

// rpm is round trips per minute.
func rpm(h *probes.Hist) float64 {
	median := probes.P50.Of(h)
	if median <= 0 {
		return 0
	}
	return 60 / median
}
