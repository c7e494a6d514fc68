package responsiveness

import (
	"math"
	"slices"
	"time"
)

// Draft is the version of the specification whose formula and defaults are used. Up to -04 the formula was another one, so
// that results are not to be compared without it.
const Draft = "draft-ietf-ippm-responsiveness-09"

// timing is what one probe took. tcp and tls are 0 in a self probe, tcp also over HTTP/3. A TLS handshake of several round
// trips counts as one of them. took is from the beginning to the end.
type timing struct {
	foreign              bool
	tcp, tls, http, took time.Duration
}

// trimmedMean is the mean of the fastest share of the values; 0 of none.
func trimmedMean(v []time.Duration, share float64) time.Duration {
	if len(v) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(v))
	kept := sorted[:max(1, int(math.Ceil(share*float64(len(sorted)))))]
	sum := 0.0
	for _, d := range kept {
		sum += float64(d)
	}
	return time.Duration(sum / float64(len(kept)))
}

// rating is round trips per minute, by section 4.3 of the draft.
type rating struct{ rpm, foreign, loaded float64 }

// rate turns probes into round trips per minute. ok is false while there are none of one kind.
func rate(probes []timing, share float64) (r rating, ok bool) {
	var tcp, tls, foreign, loaded []time.Duration
	for _, p := range probes {
		if !p.foreign {
			loaded = append(loaded, p.http)
			continue
		}
		foreign, tls = append(foreign, p.http), append(tls, p.tls)
		if p.tcp > 0 {
			tcp = append(tcp, p.tcp)
		}
	}
	if len(foreign) == 0 || len(loaded) == 0 {
		return r, false
	}
	sum, terms := trimmedMean(tls, share)+trimmedMean(foreign, share), 2
	if len(tcp) > 0 {
		sum, terms = sum+trimmedMean(tcp, share), 3
	}
	r.foreign = perMinute(sum / time.Duration(terms))
	r.loaded = perMinute(trimmedMean(loaded, share))
	r.rpm = (r.foreign + r.loaded) / 2
	return r, true
}

func perMinute(d time.Duration) float64 {
	return float64(time.Minute) / float64(max(d, time.Nanosecond))
}

// verdict is the draft's word for a number of round trips per minute.
func verdict(rpm float64) string {
	switch {
	case rpm < 300:
		return "poor"
	case rpm < 1000:
		return "fair"
	case rpm < 6000:
		return "good"
	default:
		return "excellent"
	}
}

// stable says whether the last n values deviate from each other by less than the share tolerance of the last one.
func stable(v []float64, n int, tolerance float64) bool {
	if len(v) < n {
		return false
	}
	last := v[len(v)-n:]
	mean, deviation := 0.0, 0.0
	for _, x := range last {
		mean += x / float64(n)
	}
	for _, x := range last {
		deviation += (x - mean) * (x - mean) / float64(n)
	}
	return math.Sqrt(deviation) < tolerance*last[n-1]
}

// stability follows a measurement interval by interval and says when it is over.
type stability struct {
	distance  int           // MAD: intervals in a moving average, and moving averages that must agree
	interval  time.Duration // ID
	tolerance float64       // SDT
	share     float64       // TMP

	bytes     [][]int64   // by interval, by direction
	averages  [][]float64 // by direction, by interval
	probes    []answers   // by interval
	saturated int         // the interval in which the rate was found stable, from 1; 0 before
	ratings   []float64   // since then, or since load or probes were last lost
	fresh     []timing    // probes completed since the last of ratings
	latest    rating      // of the window, when rated
	rated     bool
}

// answers is what became of the probes in one interval.
type answers struct {
	completed []timing
	failed    int
	underway  []time.Duration // for how long the others have been, at the end of the interval
}

// add takes in one interval: the bytes of each direction and what became of the probes.
func (s *stability) add(bytes []int64, probes answers) {
	s.bytes, s.probes = append(s.bytes, bytes), append(s.probes, probes)
	if s.averages == nil {
		s.averages = make([][]float64, len(bytes))
	}
	from := max(0, len(s.bytes)-s.distance) // the first averages are of the intervals that there are
	for way := range bytes {
		sum := int64(0)
		for _, b := range s.bytes[from:] {
			sum += b[way]
		}
		average := float64(sum) / (float64(len(s.bytes)-from) * s.interval.Seconds())
		s.averages[way] = append(s.averages[way], average)
	}
	completed, lost := s.window()
	s.latest, s.rated = rate(completed, s.share)
	switch {
	case s.saturated == 0:
		if s.full() {
			s.saturated = len(s.bytes)
		}
		return
	case !s.loaded() || float64(len(completed)) < s.share*float64(len(completed)+lost): // what is lost would be the slowest
		s.ratings, s.fresh = nil, nil
		return
	}
	s.fresh = append(s.fresh, probes.completed...)
	if _, ok := rate(s.fresh, s.share); ok { // or else the rating would be the one before over again, and agree with it
		s.ratings, s.fresh = append(s.ratings, s.latest.rpm), nil
	}
}

// loaded says whether each direction carried more than half of its average in the last interval: the answers of a link on
// which the load stands still are stable and good, and not what is asked for. Less of a drop is a radio link's noise.
func (s *stability) loaded() bool {
	now := len(s.bytes) - 1
	for way, averages := range s.averages {
		if float64(s.bytes[now][way]) <= averages[now]*s.interval.Seconds()/2 {
			return false
		}
	}
	return true
}

// full says whether the rate of each direction has become stable.
func (s *stability) full() bool {
	for _, averages := range s.averages {
		if !stable(averages, s.distance, s.tolerance) {
			return false
		}
	}
	return true
}

// window is the probes that were completed in the last intervals that count, and how many were lost: failed, or have been
// under way for longer than these intervals and the slowest of the completed ones took. On a link with a long queue new
// connections are slow and not lost; on one that is dead the last answers were quick, and then there are none.
func (s *stability) window() (completed []timing, lost int) {
	var underway []time.Duration
	for _, p := range s.probes[max(0, len(s.probes)-s.distance):] {
		completed = append(completed, p.completed...)
		lost += p.failed
		underway = p.underway // still at the end
	}
	slowest := time.Duration(0)
	for _, t := range completed {
		slowest = max(slowest, t.took)
	}
	for _, age := range underway {
		if age > time.Duration(s.distance)*s.interval+slowest {
			lost++
		}
	}
	return completed, lost
}

// done says whether responsiveness has become stable too.
func (s *stability) done() bool { return stable(s.ratings, s.distance, s.tolerance) }

// goodput is the latest moving average of one direction, in bytes per second.
func (s *stability) goodput(way int) float64 {
	if s.averages == nil {
		return 0
	}
	return s.averages[way][len(s.averages[way])-1]
}

// fullness is the draft's confidence in the rate: low while there are not as many intervals as a moving average has, medium
// when it is not stable, or no longer, and else high.
func (s *stability) fullness() string {
	switch {
	case len(s.bytes) < s.distance:
		return "low"
	case s.saturated == 0 || !s.full():
		return "medium"
	default:
		return "high"
	}
}

// confidence is the draft's, in responsiveness: low when the rate never became stable or only just did, or when the load
// or probes were lost just now, medium when responsiveness did not become stable, and else high.
func (s *stability) confidence() string {
	switch {
	case len(s.ratings) < s.distance:
		return "low"
	case !s.done():
		return "medium"
	default:
		return "high"
	}
}
