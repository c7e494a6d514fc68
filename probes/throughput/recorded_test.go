package throughput

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/netsim"
)

// recording is one direction of a recorded link.
type recording struct {
	name      string
	direction string
	course    *netsim.Course
}

// recordings are the rate traces of 5G links, which are not part of the repository.
func recordings(t *testing.T) (list []recording) {
	t.Helper()
	folder := os.Getenv("NRPROBE_DATA")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "data")
	}
	paths, err := filepath.Glob(filepath.Join(folder, "link_traces", "*.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Skipf("no recorded rates below %s: set NRPROBE_DATA to the folder of the recordings", folder)
	}
	for _, path := range paths {
		course, err := netsim.LoadTraceFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, direction := range []string{"down", "up"} {
			list = append(list, recording{filepath.Base(path), direction, course})
		}
	}
	return list
}

// from is the direction's profile, beginning at a moment of the recording, both ways, so that nothing else holds it up.
func (r recording) from(offset time.Duration) netsim.Profile {
	profile := r.course.Down
	if r.direction == "up" {
		profile = r.course.Up
	}
	return netsim.ProfileFunc(func(elapsed time.Duration) netsim.State {
		s := profile.At(elapsed + offset)
		return netsim.State{Rate: s.Rate, Delay: s.Delay, Queue: max(int(s.Rate/10), 1<<16)}
	})
}

// samples are what a test of ten seconds from that offset on would count, without the time that its session takes.
func (r recording) samples(offset time.Duration) (s series) {
	const interval = 100 * time.Millisecond
	profile := r.from(offset)
	bytes := 0.0
	for at := interval; at <= 10*time.Second; at += interval {
		bytes += profile.At(at-interval/2).Rate * interval.Seconds()
		s = append(s, sample{at: at, bytes: int64(bytes)})
	}
	return s
}

// thrift is what an early stop saves and costs.
type thrift struct {
	spent, whole int64     // bytes, with and without it
	errors       []float64 // of the goodput, against that of the whole ten seconds
}

func (r *thrift) add(spent, whole int64, goodput, reference float64) {
	r.spent += spent
	r.whole += whole
	r.errors = append(r.errors, math.Abs(goodput/reference-1))
}

func (r *thrift) share() float64 { return float64(r.spent) / float64(r.whole) }

func (r *thrift) quantile(p float64) float64 {
	slices.Sort(r.errors)
	return r.errors[int(math.Ceil(p*float64(len(r.errors))))-1]
}

func (r *thrift) within(tolerance float64) float64 {
	n := 0
	for _, e := range r.errors {
		if e <= tolerance {
			n++
		}
	}
	return float64(n) / float64(len(r.errors))
}

func (r *thrift) String() string {
	return fmt.Sprintf("%5.1f %% of the bytes, error %4.1f %% median, %5.1f %% p90", 100*r.share(), 100*r.quantile(0.5), 100*r.quantile(0.9))
}

// TestEarlyStopOnRecordedRates stops tests of ten seconds early at 1195 moments of each recording, and compares what they
// took and said with what the whole of the same ten seconds has.
func TestEarlyStopOnRecordedRates(t *testing.T) {
	list := recordings(t)
	for _, rule := range []settleRule{
		{tolerance: 0.05, confidence: 0.8},
		{tolerance: 0.1, confidence: 0.7},
		{tolerance: 0.1, confidence: 0.8},
		{tolerance: 0.1, confidence: 0.95},
		{tolerance: 0.15, confidence: 0.8},
		{tolerance: 0.15, confidence: 0.95},
	} {
		rule.whole = 10 * time.Second
		var all thrift
		for _, r := range list {
			var one thrift
			for offset := time.Duration(0); offset < r.course.Length-12*time.Second; offset += 3 * time.Second {
				s := r.samples(offset + offset%(7*time.Second)/10) // a test begins anywhere within a second
				n := len(s)
				if early := settlesAfterRamp(s, rule); early > 0 {
					n = early
				}
				goodput, reference := s[:n].mean(s[:n].ramp()), s.mean(s.ramp())
				for _, x := range []*thrift{&one, &all} {
					x.add(s[n-1].bytes, s[len(s)-1].bytes, goodput, reference)
				}
			}
			t.Logf("settle %4v, confidence %4v, %-34s %-4s %v", rule.tolerance, rule.confidence, r.name, r.direction, &one)
		}
		t.Logf("settle %4v, confidence %4v, all of them                             %v, %.0f %% within the tolerance", rule.tolerance, rule.confidence, &all, 100*all.within(rule.tolerance))
		if rule.tolerance == 0.15 && rule.confidence == defaults().Confidence && (all.share() > 0.4 || all.quantile(0.5) > 0.05) {
			t.Errorf("want 40 %% of the bytes and a median error of 5 %% at most")
		}
	}
}

// settlesAfterRamp is settlesAfter behind the ramp that a measurement would find.
func settlesAfterRamp(s series, r settleRule) int {
	var l settling
	for i := range s {
		if l.look(r, s[:i+1], s[:i+1].ramp()) {
			return i + 1
		}
	}
	return 0
}

// TestEarlyStopMeasured runs whole measurements over replayed recordings, and holds that an early stop takes what
// the samples alone say it does.
func TestEarlyStopMeasured(t *testing.T) {
	var all thrift
	for _, r := range recordings(t) {
		for offset := 5 * time.Minute; offset < r.course.Length; offset += 10 * time.Minute {
			goodput, bytes := map[float64]float64{}, map[float64]float64{}
			for _, settle := range []float64{0, 0.15} {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, r.from(offset), DefaultLimits())
					result := w.measure(t.Context(), func(c *Config) { c.Direction, c.Streams, c.Settle = r.direction, 1, settle })
					if result.Outcome != probes.OK {
						t.Fatalf("outcome %s: %s", result.Outcome, result.Error)
					}
					goodput[settle] = result.Values["goodput_"+r.direction+"_bytes_per_second"]
					bytes[settle] = result.Values["transferred_"+r.direction+"_bytes"]
				})
			}
			all.add(int64(bytes[0.15]), int64(bytes[0]), goodput[0.15], goodput[0])
		}
	}
	t.Logf("settle 0.15, %d measurements: %v", len(all.errors), &all)
	if all.share() > 0.4 || all.quantile(0.5) > 0.05 {
		t.Errorf("want 40 %% of the bytes and a median error of 5 %% at most")
	}
}
