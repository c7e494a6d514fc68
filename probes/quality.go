package probes

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Quality is the set of reasons why a Result may say more about the instrument than about the network. A Result with
// flags is kept; gates and dashboards can exclude it by flag.
type Quality uint32

// The flags. Their words are part of the JSON and of the field "quality".
const (
	ScheduleLate   Quality = 1 << iota // packets left later than planned, or not at all, by more than the kind allows
	UserStamps                         // time stamps were taken in user space, not by the kernel
	KernelRefused                      // the own kernel refused packets (ENOBUFS, EAGAIN)
	CPUStarved                         // the process did not get the processor when it needed it
	ClockStepped                       // the wall clock stepped during the measurement
	ClockUnset                         // the wall clock was not set yet
	Suspended                          // the host slept during the measurement
	CrossTraffic                       // other traffic used the interface
	FarEndLate                         // the far end was overloaded
	LoadConcurrent                     // a load test ran at the same site
	StoppedEarly                       // a load test stopped when its result had settled
	Partial                            // the measurement ended before it was complete
	qualityEnd
)

var qualityNames = [...]string{
	"schedule_late", "user_stamps", "kernel_refused", "cpu_starved", "clock_stepped", "clock_unset", "suspended",
	"cross_traffic", "far_end_late", "load_concurrent", "stopped_early", "partial",
}

// Has says whether all flags of f are set.
func (q Quality) Has(f Quality) bool { return q&f == f }

// Doubtful says whether a flag is set that makes timing doubtful. Stamps from user space, an early stop and a partial
// measurement do not.
func (q Quality) Doubtful() bool {
	return q&^(UserStamps|StoppedEarly|Partial|LoadConcurrent) != 0
}

// Names lists the words of the flags that are set, in a fixed order.
func (q Quality) Names() []string {
	names := []string{}
	for i, name := range qualityNames {
		if q.Has(1 << i) {
			names = append(names, name)
		}
	}
	return names
}

// String joins the words with commas; "" when no flag is set.
func (q Quality) String() string { return strings.Join(q.Names(), ",") }

// ParseQuality reads what String wrote.
func ParseQuality(text string) (Quality, error) {
	var q Quality
	if text == "" {
		return 0, nil
	}
next:
	for word := range strings.SplitSeq(text, ",") {
		for i, name := range qualityNames {
			if name == word {
				q |= 1 << i
				continue next
			}
		}
		return 0, fmt.Errorf("unknown quality flag %q", word)
	}
	return q, nil
}

// MarshalJSON writes the flags that are set as an object: {"schedule_late":true}.
func (q Quality) MarshalJSON() ([]byte, error) {
	set := map[string]bool{}
	for _, name := range q.Names() {
		set[name] = true
	}
	return json.Marshal(set)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (q *Quality) UnmarshalJSON(text []byte) error {
	var set map[string]bool
	if err := json.Unmarshal(text, &set); err != nil {
		return err
	}
	*q = 0
	for name, on := range set {
		flag, err := ParseQuality(name)
		if err != nil {
			return err
		}
		if on {
			*q |= flag
		}
	}
	return nil
}
