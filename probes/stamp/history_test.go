package stamp

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// skew makes the reflector's clock differ from the sender's by what the function says for a moment of true time: it
// changes T2 and T3 in the replies.
func skew(p *path, by func(at time.Time) time.Duration) {
	send := p.server.write
	p.server.write = func(b []byte, to net.Addr) (int, error) {
		var r reply
		if r.parse(b, unauthenticated) {
			l := unauthenticated.replyLayout()
			for _, stamp := range [][]byte{b[unauthenticated.t1Offset():], b[l.t2:]} {
				at := timestamp(binary.BigEndian.Uint64(stamp)).unixNano(r.err.format(), time.Now().UnixNano())
				binary.BigEndian.PutUint64(stamp, uint64(newTimestamp(at+int64(by(time.Unix(0, at))), r.err.format())))
			}
		}
		return send(b, to)
	}
}

// TestOneWayDelayWithClocksThatDrift measures for two minutes in windows of a second over a link with jitter, whose way
// there is slower than the way back, against a clock that is five hours ahead and gains or loses. In every window the true
// delays lie within the published bound, and what the windows before say makes the bound smaller.
func TestOneWayDelayWithClocksThatDrift(t *testing.T) {
	for _, ppm := range []float64{40, -250, 0} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			var trueUp, trueDown [130][]time.Duration
			jitter := func(base time.Duration, list *[130][]time.Duration) rule {
				random := rand.New(rand.NewPCG(4, uint64(base)))
				return func(n int) []time.Duration {
					d := base + time.Duration(min(random.ExpFloat64(), 8)*float64(6*ms)) // below the spacing: in order
					if n/20 < len(list) {
						list[n/20] = append(list[n/20], d)
					}
					return []time.Duration{d}
				}
			}
			p := newPath(jitter(12*ms, &trueUp), jitter(8*ms, &trueDown))
			skew(p, func(at time.Time) time.Duration {
				return 5*time.Hour + time.Duration(ppm*1e-6*float64(at.Sub(start)))
			})
			c := defaults()
			c.Window, c.Interval = time.Second, 50*ms
			results := p.measureFor(t, c, 125*time.Second)
			var first, last float64
			for i, r := range results[:120] {
				offset := (5 * time.Hour).Seconds() + ppm*1e-6*(float64(i)+0.5)
				bound := boundOf(t, r)
				// The offset is published for one moment of the window, which drift makes half a window's worth uncertain.
				if off := math.Abs(r.Values["clock_offset_seconds"] - offset); off > bound+math.Abs(ppm)*0.5e-6+1e-8 {
					t.Errorf("%v ppm, window %d: offset is off by %v s, bound %v s", ppm, i, off, bound)
				}
				for name, list := range map[string][]time.Duration{"owd_up_min_seconds": trueUp[i], "owd_down_min_seconds": trueDown[i]} {
					got, ok := r.Values[name]
					if !ok {
						continue
					}
					least := math.Inf(1)
					for _, d := range list {
						least = min(least, d.Seconds())
					}
					if math.Abs(got-least) > bound+1e-8 {
						t.Errorf("%v ppm, window %d: %s is %v, truly %v, bound %v", ppm, i, name, got, least, bound)
					}
				}
				if i == 0 {
					first = bound
				}
				last = bound
			}
			// 20 ms of the shortest possible round trip, half of it unknown. Ageing adds 15 ppm.
			if last < 0.01 || last > 0.0115 || last >= first {
				t.Errorf("%v ppm: bound was %v s in the first window and is %v s in the last", ppm, first, last)
			}
		})
	}
}

// boundOf is the bound of what a result says of the clocks. It is published with one-way delays only.
func boundOf(t *testing.T, r *probes.Result) float64 {
	t.Helper()
	bound, ok := r.Values["owd_error_seconds"]
	if !ok {
		t.Errorf("no bound: %v", r.Values)
	}
	return bound
}

// TestAFarClockThatIsSet: what was known before is forgotten, and what comes after is right again.
func TestAFarClockThatIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		p := newPath(constant(15*ms), constant(5*ms))
		skew(p, func(at time.Time) time.Duration {
			if at.Sub(start) < 20500*ms {
				return time.Second
			}
			return 3 * time.Second
		})
		c := defaults()
		c.Window, c.Interval = time.Second, 50*ms
		results := p.measureFor(t, c, 31*time.Second)
		for i, r := range results[:30] {
			want := 1.005
			if i > 20 {
				want = 3.005
			}
			got, ok := r.Values["clock_offset_seconds"]
			switch {
			case i == 20:
				absent(t, r, "clock_offset_seconds")
				absent(t, r, "owd_up_p50_seconds")
			case !ok || math.Abs(got-want) > 1e-6:
				t.Errorf("window %d: offset %v, want %v", i, got, want)
			}
		}
	})
}

// TestTheBoundHoldsAllOverTheWindow has short round trips only at both ends of a window and, where asked for, in its middle,
// and a far clock that first gains and then loses, within what clocks are assumed to wander.
func TestTheBoundHoldsAllOverTheWindow(t *testing.T) {
	const ppm = 10e-6
	for _, c := range []struct {
		window, calm, oneWay time.Duration
		middle               bool
		most                 time.Duration // that the bound may be
	}{
		{5 * time.Minute, 5 * time.Second, 500 * time.Microsecond, false, 2900 * time.Microsecond},
		{5 * time.Minute, 5 * time.Second, 500 * time.Microsecond, true, 2600 * time.Microsecond},
		{time.Minute, 5 * time.Second, 200 * time.Microsecond, false, 660 * time.Microsecond},
		{time.Minute, 10 * time.Second, 50 * time.Microsecond, false, 490 * time.Microsecond},
		{10 * time.Second, time.Second, 50 * time.Microsecond, false, 130 * time.Microsecond},
	} {
		ahead := func(at time.Duration) time.Duration { return time.Duration(ppm * float64(min(at, c.window-at))) }
		var list []delay
		for at := time.Duration(0); at < c.window; at += 100 * ms {
			oneWay := c.oneWay
			if at > c.calm && at < c.window-c.calm && (!c.middle || at != c.window/2) {
				oneWay += 40 * ms
			}
			list = append(list, delay{sent: at, up: oneWay + ahead(at), down: oneWay - ahead(at), rtt: 2 * oneWay})
		}
		o := (&clockHistory{}).estimate(list)
		worst := time.Duration(0)
		for _, d := range list {
			worst = max(worst, (time.Duration(o.ahead(d.sent)) - ahead(d.sent)).Abs())
		}
		t.Logf("bound %v, error %v", o.bound, worst)
		if o.bound < worst || o.bound > c.most {
			t.Errorf("%+v: bound %v, want it between the true error of %v and %v", c, o.bound, worst, c.most)
		}
	}
}

// TestTheHistoryStaysSmall feeds it for two hours.
func TestTheHistoryStaysSmall(t *testing.T) {
	var h clockHistory
	for at := time.Duration(0); at < 2*time.Hour; at += 10 * time.Second {
		var list []delay
		for i := range 100 {
			list = append(list, delay{sent: at + time.Duration(i)*100*ms, up: 10 * ms, down: 10 * ms, rtt: 20 * ms})
		}
		o := h.estimate(list)
		if o.value != 0 || o.drift != 0 || o.bound != 10*ms {
			t.Fatalf("at %v: %+v", at, o)
		}
		if len(h.pieces) > historyPieces || list[0].sent-h.pieces[0].best.sent > historyAge+20*time.Second {
			t.Fatalf("at %v: %d pieces, the oldest %v old", at, len(h.pieces), list[0].sent-h.pieces[0].best.sent)
		}
	}
}
