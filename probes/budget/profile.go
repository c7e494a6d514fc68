package budget

import (
	"fmt"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// Profile is a set of budgets that a document states.
type Profile struct {
	// Name is the word in the budgets file.
	Name string
	// Source is the document and the row.
	Source string
	// Delay is the largest one-way delay. For a 5QI it is the packet delay budget between the device and the N6 point of
	// the user plane; for a service requirement it is end to end.
	Delay time.Duration
	// Up and Down are one-way delays that differ by direction; 0 takes Delay.
	Up, Down time.Duration
	// Share is the part of packets that has to keep the delay: 0.98 where the document defines the budget as a 98th
	// percentile (TS 23.501 section 5.7.3.4), 1 less the error rate where late packets count as lost, or a reliability.
	Share float64
	// Loss is the largest packet error rate; 0 where lateness already counts as loss, or none is stated.
	Loss float64
}

// fiveQI is a row of TS 23.501 table 5.7.4-1: identifier, delay budget in milliseconds, error rate, example.
type fiveQI struct {
	id            int
	delay         int
	loss          float64
	delayCritical bool
	example       string
}

// fiveQIs is TS 23.501 v19.4.0 table 5.7.4-1.
func fiveQIs() []fiveQI {
	return []fiveQI{
		{1, 100, 1e-2, false, "conversational voice"},
		{2, 150, 1e-3, false, "conversational video"},
		{3, 50, 1e-3, false, "real-time gaming, V2X, process monitoring"},
		{4, 300, 1e-6, false, "buffered video"},
		{5, 100, 1e-6, false, "IMS signalling"},
		{6, 300, 1e-6, false, "buffered video, TCP"},
		{7, 100, 1e-3, false, "voice, live video, interactive gaming"},
		{8, 300, 1e-6, false, "buffered video, TCP"},
		{9, 300, 1e-6, false, "default bearer"},
		{10, 1100, 1e-6, false, "satellite"},
		{65, 75, 1e-2, false, "mission-critical push to talk"},
		{66, 100, 1e-2, false, "push to talk"},
		{67, 100, 1e-3, false, "mission-critical video"},
		{69, 60, 1e-6, false, "mission-critical signalling"},
		{70, 200, 1e-6, false, "mission-critical data"},
		{71, 150, 1e-6, false, "live uplink streaming"},
		{72, 300, 1e-4, false, "live uplink streaming"},
		{73, 300, 1e-8, false, "live uplink streaming"},
		{74, 500, 1e-8, false, "live uplink streaming"},
		{75, 50, 1e-2, false, "A2X"},
		{76, 500, 1e-4, false, "live uplink streaming"},
		{79, 50, 1e-2, false, "V2X messages"},
		{80, 10, 1e-6, false, "low-latency eMBB, augmented reality"},
		{82, 10, 1e-4, true, "discrete automation"},
		{83, 10, 1e-4, true, "discrete automation, V2X"},
		{84, 30, 1e-5, true, "intelligent transport"},
		{85, 5, 1e-5, true, "high-voltage electricity, remote driving"},
		{86, 5, 1e-4, true, "advanced driving, platooning"},
		{87, 5, 1e-3, true, "motion tracking"},
		{88, 10, 1e-3, true, "motion tracking"},
		{89, 15, 1e-4, true, "split rendering"},
		{90, 20, 1e-4, true, "split rendering"},
	}
}

// Profiles lists the built-in profiles.
func Profiles() []Profile {
	const ms = time.Millisecond
	var list []Profile
	byID := map[int]Profile{}
	for _, row := range fiveQIs() {
		p := Profile{
			Name: fmt.Sprintf("5qi-%d", row.id), Delay: time.Duration(row.delay) * ms, Share: 0.98, Loss: row.loss,
			Source: fmt.Sprintf("3GPP TS 23.501 table 5.7.4-1, 5QI %d: %s", row.id, row.example),
		}
		if row.delayCritical { // TS 23.501 section 5.7.3.4: a packet that is later than the budget counts as lost
			p.Share, p.Loss = 1-row.loss, 0
		}
		byID[row.id] = p
		list = append(list, p)
	}
	for _, alias := range []struct {
		name string
		id   int
	}{{"voice", 1}, {"video-call", 2}, {"gaming", 3}, {"default-internet", 9}, {"ar-edge", 80}, {"industrial-control", 82}, {"v2x", 86}, {"split-rendering", 89}} {
		p := byID[alias.id]
		p.Name = alias.name
		list = append(list, p)
	}
	const ts22186 = "3GPP TS 22.186 section 5, "
	return append(list,
		Profile{Name: "ts22186-remote-driving", Source: ts22186 + "R.5.5-002", Delay: 5 * ms, Share: 0.99999},
		Profile{Name: "ts22186-platooning", Source: ts22186 + "R.5.2-004, lowest degree of automation", Delay: 25 * ms, Share: 0.9},
		Profile{Name: "ts22186-platooning-highest", Source: ts22186 + "R.5.2-006, highest degree of automation", Delay: 10 * ms, Share: 0.9999},
		Profile{Name: "ts22186-collision-avoidance", Source: ts22186 + "R.5.3-001", Delay: 10 * ms, Share: 0.9999},
		Profile{Name: "ts22186-emergency-trajectory", Source: ts22186 + "emergency trajectory alignment", Delay: 3 * ms, Share: 0.99999},
		Profile{Name: "ts22186-extended-sensors", Source: ts22186 + "R.5.4-001, lower degree of automation", Delay: 100 * ms, Share: 0.99},
		Profile{Name: "ts22186-extended-sensors-high", Source: ts22186 + "R.5.4-004, higher degree of automation", Delay: 10 * ms, Share: 0.9999},
		Profile{Name: "ts22186-video-sharing", Source: ts22186 + "R.5.4-009, higher degree of automation", Delay: 10 * ms, Share: 0.9999},
		Profile{Name: "teleop-practical", Source: "practice of tele-operated driving (5GAA): 100 ms for video up, 20 ms for commands down", Up: 100 * ms, Down: 20 * ms, Share: 0.99},
	)
}

// findProfile returns the profile of a name. The error suggests the nearest one.
func findProfile(name string) (Profile, error) {
	var names []string
	for _, p := range Profiles() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Profile{}, fmt.Errorf("unknown profile %q%s: one of %s", name, didYouMean(name, names), strings.Join(names, ", "))
}

// fromProfile makes criteria of an entry that names a profile.
func (e *Entry) fromProfile(problem func(key, text string)) []Criterion {
	p, err := findProfile(e.Profile)
	if err != nil {
		problem("profile", err.Error())
		return nil
	}
	contradicted := false
	for _, own := range []struct {
		key   string
		given bool
	}{
		{"metric", e.Metric != ""},
		{"statistic", e.Statistic != ""},
		{"bound", e.Bound != ""},
		{"at_least", e.AtLeast != ""},
		{"direction", e.Direction != ""},
		{"of", e.Of != ""},
		{"survival", e.Survival != 0},
		{"ratio", e.Ratio != ""},
		{"floor", e.Floor != ""},
	} {
		if own.given {
			problem(own.key, fmt.Sprintf("contradicts the profile %s, which says it itself: keep one", p.Name))
			contradicted = true
		}
	}
	if contradicted {
		return nil
	}
	return p.criteria(e)
}

// criteria are the budgets of a profile. The delay of a 5QI ends at N6; what is measured ends at the far end, so the
// transport between them comes on top, once in each direction. Where only round trips are judged, their limit is the sum of
// both directions, and the test is one of the sum.
func (p Profile) criteria(e *Entry) []Criterion {
	base := e.base()
	if base.Name == "" {
		base.Name = p.Name
	}
	base.Statistic, base.AtLeast = Statistic{Text: "reliability", Form: Reliability}, p.Share
	base.Ratio, base.Floor = DefaultRatio, DefaultShareFloor
	up, down := p.Up, p.Down
	if p.Delay > 0 {
		up, down = p.Delay, p.Delay
	}
	up, down = up+e.Transport, down+e.Transport
	var list []Criterion
	delay := func(suffix string, m *probes.Metric, d probes.Direction, limit time.Duration, note string) {
		c := base
		c.Name, c.Metric, c.Direction, c.Limit = base.Name+suffix, m, d, limit.Seconds()
		c.Note = p.Source + ". " + note
		if p.Loss > 0 {
			c.OfReceived = true // what is lost has a budget of its own
		}
		list = append(list, c)
	}
	transport := fmt.Sprintf("Transport between N6 and the far end is taken as %v one way.", e.Transport)
	if e.OneWay {
		delay(": delay up", probes.OneWayDelay, probes.Up, up, transport)
		delay(": delay down", probes.OneWayDelay, probes.Down, down, transport)
	} else {
		delay(": delay", probes.RTT, probes.Both, up+down, transport+" The limit is that of both directions together: a slow one may hide behind a fast one.")
	}
	if p.Loss > 0 {
		c := base
		c.Name, c.Metric, c.Limit = base.Name+": loss", probes.LossRatio, 1-(1-p.Loss)*(1-p.Loss)
		c.Statistic = Statistic{Text: "ratio", Form: Share}
		c.Note = p.Source + ". Either direction may lose this share; what is measured is the round trip."
		list = append(list, c)
	}
	return list
}
