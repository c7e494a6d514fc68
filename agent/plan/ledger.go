package plan

import (
	"maps"
	"slices"
	"time"

	"github.com/nrprobe/nrprobe/configs/unit"
)

// Period is the time that a budget is for.
type Period uint8

// The periods.
const (
	Day Period = iota
	Month
)

// Periods lists all periods.
func Periods() []Period { return []Period{Day, Month} }

// String is "day" or "month".
func (p Period) String() string { return [...]string{"day", "month"}[p] }

// length is the longest that a period lasts.
func (p Period) length() time.Duration {
	if p == Day {
		return 24 * time.Hour
	}
	return 31 * 24 * time.Hour
}

// moment is a look at the wall clock.
type moment struct {
	wall time.Time // UTC
	set  bool
}

// key names the period that a moment is in, so that later ones sort behind; "" while the clock is not set.
func (m moment) key(p Period) string {
	switch {
	case !m.set:
		return ""
	case p == Day:
		return m.wall.Format(time.DateOnly)
	default:
		return m.wall.Format("2006-01")
	}
}

// kept is how many periods are remembered: the present one, and the one that a clock may step back into.
const kept = 2

// account is what one interface has used and may still use.
type account struct {
	day, month *ledger
	reserved   unit.Bytes
}

func newAccount() *account { return &account{day: newLedger(), month: newLedger()} }

func (a *account) ledger(p Period) *ledger {
	if p == Day {
		return a.day
	}
	return a.month
}

// ledger is what was used in the periods of one length, by their key. What was used before the clock was ever set stands
// under "", and goes to the first period that is known.
type ledger struct {
	Used map[string]unit.Bytes `json:"used"`
	// Behind is for how long of running time the clock has been before the newest period.
	Behind time.Duration `json:"behind,omitempty"`
}

func newLedger() *ledger { return &ledger{Used: map[string]unit.Bytes{}} }

func (l *ledger) clone() *ledger { return &ledger{Used: maps.Clone(l.Used), Behind: l.Behind} }

// newest is the key of the last period; "" before there was one.
func (l *ledger) newest() string {
	newest := ""
	for key := range l.Used {
		newest = max(newest, key)
	}
	return newest
}

// turn begins the period that the clock shows, unless it is not set or shows one before the newest. passed is the time since the
// last turn. It says whether that is worth writing down.
func (l *ledger) turn(key string, passed, length time.Duration) bool {
	newest := l.newest()
	switch {
	case key == "":
		return false
	case key < newest:
		if l.Behind += passed; l.Behind >= length {
			l.believe(key)
		}
		return true
	}
	l.Behind = 0
	if key == newest {
		return false
	}
	l.Used[key] += l.Used[""]
	delete(l.Used, "")
	l.forget()
	return true
}

// believe takes the clock at its word after all: what was used in periods that it showed before by mistake belongs to the one
// that it shows now.
func (l *ledger) believe(key string) {
	l.Behind = 0
	l.Used[key] += 0
	for later, n := range l.Used {
		if later > key {
			l.Used[key] += n
			delete(l.Used, later)
		}
	}
}

// forget drops all but the last periods.
func (l *ledger) forget() {
	keys := slices.Sorted(maps.Keys(l.Used))
	for _, key := range keys[:max(0, len(keys)-kept)] {
		delete(l.Used, key)
	}
}

// charge counts n bytes in the period of key, or in the newest where the clock stands before that.
func (l *ledger) charge(key string, n unit.Bytes) {
	l.Used[max(key, l.newest())] += n
}

// used is what counts against the budget of the period of key: where the clock stands before the newest period, what was used
// in either.
func (l *ledger) used(key string) unit.Bytes {
	newest := l.newest()
	n := l.Used[newest]
	if key != "" && key < newest {
		n += l.Used[key]
	}
	return n
}
