package throughput

import "slices"

import "time"

// merge adds up what several connections report, each at moments of its own, on one clock. Between two reports of a
// connection its count is taken to have grown evenly. It is not safe for concurrent use.
type merge struct {
	tracks []series // by connection; the first sample of each is its start
	given  int      // samples of tracks[0] that have been given out
}

func newMerge(connections int) *merge { return &merge{tracks: make([]series, connections)} }

// last is the latest count of one connection.
func (m *merge) last(connection int) int64 {
	t := m.tracks[connection]
	return t.before(len(t)).bytes
}

// add takes in a report and returns the sums that it completes: one for each report of the first connection, on the clock
// that the start of the first connection is the zero of.
func (m *merge) add(connection int, started time.Duration, s sample) []sample {
	t := &m.tracks[connection]
	if len(*t) == 0 {
		*t = append(*t, sample{at: started})
	}
	if s.at <= (*t)[len(*t)-1].at {
		return nil
	}
	*t = append(*t, s)
	var sums []sample
	for m.given++; m.given < len(m.tracks[0]); m.given++ {
		sum, ok := m.sum(m.tracks[0][m.given].at)
		if !ok {
			break
		}
		sum.at -= m.tracks[0][0].at
		sums = append(sums, sum)
	}
	m.given--
	return sums
}

// sum adds up the counts of all connections at one moment; ok is false while one has not reported that far.
func (m *merge) sum(at time.Duration) (_ sample, ok bool) {
	sum := sample{at: at}
	for _, t := range m.tracks {
		n, ok := t.at(at)
		if !ok {
			return sum, false
		}
		sum.bytes += n
	}
	return sum, true
}

// at is the count at one moment, between the samples around it; ok is false behind the last one. Before the first it is 0.
func (s series) at(at time.Duration) (bytes int64, ok bool) {
	for i, v := range slices.Backward(s) {
		switch {
		case v.at == at:
			return v.bytes, true
		case v.at > at:
			continue
		case i == len(s)-1:
			return 0, false
		}
		a, b := v, s[i+1]
		share := float64(at-a.at) / float64(b.at-a.at)
		return a.bytes + int64(share*float64(b.bytes-a.bytes)+0.5), true
	}
	return 0, len(s) > 0
}
