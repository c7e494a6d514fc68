package stamp

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
)

// Pauses is one pause, or several that are made in turn, longest silence last as a rule: "5s", "0.1s,1s,5s,15s,30s". A radio
// goes to sleep in steps, so how long a packet takes to wake it depends on how long it had been silent.
type Pauses string

const (
	mostPauses   = 16
	longestPause = time.Hour
)

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Pauses) UnmarshalText(text []byte) error {
	var list []string
	for word := range strings.SplitSeq(string(text), ",") {
		d, err := unit.ParseDuration(strings.TrimSpace(word))
		switch {
		case err != nil:
			return err
		case d < 0 || d > longestPause:
			return fmt.Errorf("a pause of %s is not within 0s to %s", unit.FormatDuration(d), unit.FormatDuration(longestPause))
		case d == 0 && strings.Contains(string(text), ","):
			return fmt.Errorf("%q has a pause of 0s: leave it out, other packets follow without a pause as it is", text)
		case d > 0:
			list = append(list, unit.FormatDuration(d))
		}
	}
	if len(list) > mostPauses {
		return fmt.Errorf("%d pauses are more than %d", len(list), mostPauses)
	}
	*p = Pauses(strings.Join(list, ","))
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (p Pauses) MarshalText() ([]byte, error) { return []byte(cmp.Or(string(p), "0s")), nil }

// list are the pauses in the order in which they are made. What is in a Pauses is what UnmarshalText put there.
func (p Pauses) list() []time.Duration {
	var list []time.Duration
	for word := range strings.SplitSeq(string(p), ",") {
		if d, err := unit.ParseDuration(word); err == nil && d > 0 {
			list = append(list, d)
		}
	}
	return list
}

// total is how long so many pauses take.
func (p Pauses) total(n int) time.Duration {
	list, sum := p.list(), time.Duration(0)
	if len(list) == 0 {
		return 0
	}
	for _, d := range list {
		sum += d
	}
	sum *= time.Duration(n / len(list))
	for _, d := range list[:n%len(list)] {
		sum += d
	}
	return sum
}

// pause is a time without packets that a window's packet came behind.
type pause struct {
	seq    uint64
	length time.Duration
}

// pauseBefore is how long the schedule paused before a packet.
func (w *window) pauseBefore(seq uint64) time.Duration { return before(w.pauses, seq) }

// stallBefore is for how long nothing was sent before a packet, though it should have been.
func (w *window) stallBefore(seq uint64) time.Duration { return before(w.stalls, seq) }

func before(list []pause, seq uint64) time.Duration {
	i, found := slices.BinarySearchFunc(list, seq, func(p pause, seq uint64) int { return compare(p.seq, seq) })
	if !found {
		return 0
	}
	return list[i].length
}

// waking notes for each length of pause the median round trip of the packets behind one, and by how much it is above that
// of all others.
func (k *clerk) waking(w *window) {
	if len(w.pauses) == 0 {
		return
	}
	var warm []time.Duration
	cold, sent := map[time.Duration][]time.Duration{}, map[time.Duration]int{}
	for i := range w.records {
		r := &w.records[i]
		rtt, _, _ := r.roundTrip()
		length := w.pauseBefore(w.first + uint64(i))
		switch {
		case length > 0:
			sent[length]++
			if r.fate.has(answered) {
				cold[length] = append(cold[length], rtt)
			}
		case r.fate.has(answered):
			warm = append(warm, rtt)
		}
	}
	for length, n := range sent {
		text := fmt.Sprintf("%d of %d packets answered", len(cold[length]), n)
		if list := cold[length]; len(list) > 0 {
			median := medianOf(list)
			text = readable(median).String() + ", " + text
			if len(warm) > 0 {
				text = fmt.Sprintf("%v, %v above warm, %d of %d packets answered", readable(median), readable(median-medianOf(warm)), len(list), n)
			}
		}
		k.rec.Note("wake_up_after_"+unit.FormatDuration(length), text)
	}
}
