package probes

import (
	"encoding/json"
	"time"
)

// resultJSON and eventJSON add the durations in seconds, as every name outside does.
type plainResult Result

type resultJSON struct {
	*plainResult
	Elapsed float64 `json:"elapsed_seconds"`
}

type plainEvent Event

type eventJSON struct {
	*plainEvent
	Duration float64  `json:"duration_seconds"`
	Before   *float64 `json:"rtt_before_seconds,omitempty"`
	Peak     *float64 `json:"rtt_peak_seconds,omitempty"`
	Settled  *float64 `json:"settled_seconds,omitempty"`
}

// MarshalJSON writes the object that --json prints.
func (r *Result) MarshalJSON() ([]byte, error) {
	c := plainResult(*r)
	if c.Values == nil {
		c.Values = map[string]float64{}
	}
	return json.Marshal(resultJSON{plainResult: &c, Elapsed: r.Elapsed.Seconds()})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Result) UnmarshalJSON(text []byte) error {
	j := resultJSON{plainResult: (*plainResult)(r)}
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	r.Elapsed = fromSeconds(j.Elapsed)
	return nil
}

// MarshalJSON implements json.Marshaler.
func (e Event) MarshalJSON() ([]byte, error) {
	j := eventJSON{plainEvent: (*plainEvent)(&e), Duration: e.Duration.Seconds()}
	if s := e.Spike; s != nil {
		j.Before, j.Peak = new(s.Before.Seconds()), new(s.Peak.Seconds())
		if s.Settled >= 0 {
			j.Settled = new(s.Settled.Seconds())
		}
	}
	return json.Marshal(j)
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *Event) UnmarshalJSON(text []byte) error {
	j := eventJSON{plainEvent: (*plainEvent)(e)}
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	e.Duration = fromSeconds(j.Duration)
	if j.Before != nil && j.Peak != nil {
		e.Spike = &Spike{Before: fromSeconds(*j.Before), Peak: fromSeconds(*j.Peak), Settled: -1}
		if j.Settled != nil {
			e.Spike.Settled = fromSeconds(*j.Settled)
		}
	}
	return nil
}

// fromSeconds turns seconds into a Duration, to the nearest nanosecond.
func fromSeconds(s float64) time.Duration {
	return time.Duration(s*1e9 + 0.5)
}
