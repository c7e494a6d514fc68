package throughput

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes/load"
)

// seriesOf makes a series with a sample each 100 ms from rates in bytes per second.
func seriesOf(rates ...float64) series {
	var s series
	total := 0.0
	for i, r := range rates {
		total += r / 10
		s = append(s, sample{at: time.Duration(i+1) * 100 * time.Millisecond, bytes: int64(total)})
	}
	return s
}

func repeat(n int, rate float64) []float64 {
	rates := make([]float64, n)
	for i := range rates {
		rates[i] = rate
	}
	return rates
}

func TestRamp(t *testing.T) {
	slowStart := []float64{1e5, 2e5, 4e5, 8e5}
	for name, c := range map[string]struct {
		rates []float64
		ramp  int
	}{
		"none":                               {repeat(50, 1e6), 0},
		"slow start":                         {append(slowStart, repeat(46, 1e6)...), 4},
		"one sample":                         {[]float64{1e6}, 0},
		"nothing arrived":                    {repeat(20, 0), 0},
		"nothing arrived at first":           {append(repeat(15, 0), repeat(35, 1e6)...), 15},
		"the link doubles after 4 s":         {append(repeat(40, 1e6), repeat(60, 2e6)...), 0},
		"slow start, then the link doubles":  {append(append(slowStart, repeat(26, 1e6)...), repeat(70, 2e6)...), 4},
		"the link halves":                    {append(append(slowStart, repeat(46, 1e6)...), repeat(50, 5e5)...), 3},
		"an outage behind the ramp":          {append(append(slowStart, repeat(20, 1e6)...), append(repeat(10, 0), repeat(66, 1e6)...)...), 4},
		"slow but steady growth is the ramp": {[]float64{100, 120, 144, 173, 207, 249, 299, 358, 430, 516}, 8},
	} {
		if got := seriesOf(c.rates...).ramp(); got != c.ramp {
			t.Errorf("%s: the ramp has %d samples, want %d", name, got, c.ramp)
		}
	}
}

func TestMeanLeavesOutTheRamp(t *testing.T) {
	s := seriesOf(append([]float64{1e5, 5e5}, repeat(10, 1e6)...)...)
	if got := s.mean(s.ramp()); got != 1e6 {
		t.Errorf("mean rate %v, want 1e6", got)
	}
	if got := s.mean(0); math.Abs(got-(1e5+5e5+1e7)/12) > 1 {
		t.Errorf("mean rate over all %v", got)
	}
	if got := s.warm(250 * time.Millisecond); got != 2 {
		t.Errorf("a warm-up of 250 ms holds %d samples, want 2", got)
	}
	if got := s.warm(time.Minute); got != len(s)-1 {
		t.Errorf("a warm-up longer than the series holds %d samples, want all but one", got)
	}
}

func TestMergeAddsUpConnections(t *testing.T) {
	ms := time.Millisecond
	m := newMerge(2)
	if got := m.add(0, 1000*ms, sample{at: 1100 * ms, bytes: 100}); got != nil {
		t.Errorf("a sum %v without the other connection", got)
	}
	got := m.add(1, 1050*ms, sample{at: 1150 * ms, bytes: 100})
	if len(got) != 1 || got[0] != (sample{at: 100 * ms, bytes: 150}) {
		t.Errorf("sums %v, want 150 bytes at 100 ms: the second connection had half of its 100 by then", got)
	}
	if got := m.add(1, 1050*ms, sample{at: 1350 * ms, bytes: 300}); got != nil {
		t.Errorf("a sum %v without a report of the first connection", got)
	}
	if got := m.add(0, 1000*ms, sample{at: 1200 * ms, bytes: 200}); len(got) != 1 || got[0] != (sample{at: 200 * ms, bytes: 350}) {
		t.Errorf("sums %v, want 350 bytes at 200 ms", got)
	}
	if got := m.add(0, 1000*ms, sample{at: 1200 * ms, bytes: 500}); got != nil || m.last(0) != 200 {
		t.Errorf("a report for a moment that has one counted: %v", got)
	}
	got = m.add(0, 1000*ms, sample{at: 1300 * ms, bytes: 300})
	if len(got) != 1 || got[0].bytes != 550 {
		t.Errorf("sums %v, want 550 bytes", got)
	}
}

// TestNoRateOverNextToNoTime: what comes soon behind a sample takes its place, and so does whatever comes behind a loose one,
// whose bytes had arrived before: 1 MB in each 100 ms is never seen to be more.
func TestNoRateOverNextToNoTime(t *testing.T) {
	at := func(ms int) sample {
		return sample{at: time.Duration(ms) * time.Millisecond, bytes: int64(ms) * 10_000}
	}
	late := func(ms, counted int) sample {
		return sample{at: time.Duration(ms) * time.Millisecond, bytes: int64(counted) * 10_000, loose: true}
	}
	for name, c := range map[string]struct{ come, want series }{
		"each 100 ms":              {series{at(100), at(200), at(300)}, series{at(100), at(200), at(300)}},
		"the last count":           {series{at(100), at(200), at(240)}, series{at(100), at(240)}},
		"the last count is later":  {series{at(100), at(200), at(250)}, series{at(100), at(200), at(250)}},
		"a late tick and the next": {series{at(100), at(295), at(300), at(400)}, series{at(100), at(300), at(400)}},
		"interrupted once":         {series{at(100), late(290, 205), at(300), at(400)}, series{at(100), at(300), at(400)}},
		"interrupted for long":     {series{at(100), late(290, 205), late(400, 310), at(500)}, series{at(100), at(500)}},
		"interrupted for seconds":  {series{at(100), late(2300, 110), at(2400), at(2500)}, series{at(100), at(2400), at(2500)}},
		"interrupted at the end":   {series{at(100), at(200), late(300, 290)}, series{at(100), at(200), late(300, 290)}},
		"interrupted always":       {series{late(100, 90), late(200, 190), late(300, 290)}, series{late(300, 290)}},
	} {
		m := &meter{counter: load.NewCounter(0), interval: 100 * time.Millisecond}
		for _, s := range c.come {
			m.add(s)
		}
		if !slices.Equal(m.samples, c.want) {
			t.Errorf("%s: %v, want %v", name, m.samples, c.want)
		}
		for i := range m.samples {
			if rate := m.samples.rate(i); rate > 10e6 {
				t.Errorf("%s: %g bytes per second, want 1e7 at most", name, rate)
			}
		}
	}
}

// TestRatesWhereEveryCountIsLoose: there is about one a second, each as good as a count that is 10 ms old allows, and so there is
// a ramp and an end that settles. What follows that is not loose ends a whole second, too, and from there on all is as usual.
func TestRatesWhereEveryCountIsLoose(t *testing.T) {
	m := &meter{counter: load.NewCounter(0), interval: 100 * time.Millisecond}
	take := func(tick int, loose bool) {
		at := time.Duration(tick)*m.interval + time.Duration(tick%3)*5*time.Millisecond // a busy machine is late
		seconds := at.Seconds()
		if loose {
			seconds -= 0.01
		}
		bytes := 1e6 * (seconds - 1)
		if seconds < 2 {
			bytes = 1e6 * seconds * seconds / 4 // the rate grows
		}
		m.add(sample{at: at, bytes: int64(bytes), loose: loose})
	}
	var l settling
	rule := settleRule{tolerance: 0.1, confidence: 0.8, whole: 10 * time.Second}
	var settled []bool
	for tick := 1; tick <= 65; tick++ {
		take(tick, true)
		if tick%10 == 0 {
			settled = append(settled, l.look(rule, m.samples, m.samples.ramp()))
		}
	}
	if want := []bool{false, false, false, false, true, true}; !slices.Equal(settled, want) {
		t.Errorf("settled %v by the second, want %v", settled, want)
	}
	for tick := 66; tick <= 75; tick++ {
		take(tick, false)
	}
	var at []int
	for _, s := range m.samples {
		at = append(at, int(s.at/time.Millisecond))
	}
	if want := []int{1005, 2010, 3000, 4005, 5010, 6000, 7005, 7110, 7200, 7305, 7410, 7500}; !slices.Equal(at, want) {
		t.Errorf("samples at %d ms, want %d", at, want)
	}
	if ramp := m.samples.ramp(); ramp != 2 {
		t.Errorf("the ramp has %d samples, want 2", ramp)
	}
	for i := 2; i < len(m.samples); i++ {
		if rate := m.samples.rate(i); math.Abs(rate-1e6) > 0.011e6 {
			t.Errorf("the rate up to %v is %g bytes per second, want 1e6 within 1.1 %%", m.samples[i].at, rate)
		}
	}
}
