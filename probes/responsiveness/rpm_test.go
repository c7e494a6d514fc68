package responsiveness

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

func TestTrimmedMean(t *testing.T) {
	var twenty []time.Duration
	for range 19 {
		twenty = append(twenty, 10*ms)
	}
	twenty = append(twenty, 10*time.Second)
	for _, c := range []struct {
		v    []time.Duration
		want time.Duration
	}{
		{nil, 0},
		{[]time.Duration{30 * ms}, 30 * ms},
		{[]time.Duration{30 * ms, 10 * ms}, 20 * ms},
		{twenty, 10 * ms}, // one in twenty is the slowest 5 %
	} {
		if got := trimmedMean(c.v, 0.95); got != c.want {
			t.Errorf("%v: %v, want %v", c.v, got, c.want)
		}
	}
}

// TestRate computes the formula of section 4.3 by hand.
func TestRate(t *testing.T) {
	if _, ok := rate([]timing{{foreign: true, tcp: ms, tls: ms, http: ms}}, 0.95); ok {
		t.Error("a rating without a self probe")
	}
	probes := []timing{{foreign: true, tcp: 20 * ms, tls: 30 * ms, http: 40 * ms}, {http: 60 * ms}}
	got, ok := rate(probes, 0.95)
	// Foreign: 60000 / ((20+30+40)/3) = 2000. Loaded: 60000 / 60 = 1000.
	if want := (rating{rpm: 1500, foreign: 2000, loaded: 1000}); !ok || got != want {
		t.Errorf("over TCP: %+v, want %+v", got, want)
	}
	probes[0].tcp = 0
	// Foreign: 60000 / ((30+40)/2) = 1714.3.
	if got, _ := rate(probes, 0.95); math.Abs(got.foreign-60000./35) > 1e-9 || got.loaded != 1000 {
		t.Errorf("over QUIC: %+v", got)
	}
	for rpm, want := range map[float64]string{299: "poor", 300: "fair", 999: "fair", 1000: "good", 5999: "good", 6000: "excellent"} {
		if got := verdict(rpm); got != want {
			t.Errorf("%v rpm is %s, want %s", rpm, got, want)
		}
	}
}

func TestStable(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		want bool
	}{
		{[]float64{100, 100, 100}, false}, // too few
		{[]float64{100, 100, 100, 100}, true},
		{[]float64{0, 0, 0, 0}, false},
		{[]float64{1, 100, 101, 102, 103}, true},
		{[]float64{80, 90, 100, 110}, false},
	} {
		if got := stable(c.v, 4, 0.05); got != c.want {
			t.Errorf("%v: stable %v", c.v, got)
		}
	}
}

func answered(t ...timing) answers { return answers{completed: t} }

// TestNothingStable: what repeats itself because nothing comes, or because there is no load, is not stable.
func TestNothingStable(t *testing.T) {
	foreign, self := timing{foreign: true, tcp: 20 * ms, tls: 20 * ms, http: 20 * ms}, timing{http: 20 * ms}
	both := answered(foreign, self)
	for what, c := range map[string]struct {
		bytes      int64
		then       func(n int) answers
		rated      bool
		confidence string
		goodput    string
		doneAt     int // the interval, from 0; 0 for never
		completed  []timing
		lost       int
	}{
		"dead":              {0, func(int) answers { return answers{underway: []time.Duration{4100 * ms, 4000 * ms, 10 * time.Second}} }, false, "low", "medium", 0, nil, 2},
		"without load":      {0, func(int) answers { return both }, true, "low", "medium", 0, []timing{foreign, self, foreign, self, foreign, self, foreign, self}, 0},
		"a fifth of it":     {2e5, func(int) answers { return both }, true, "high", "high", 11, []timing{foreign, self, foreign, self, foreign, self, foreign, self}, 0},
		"no more answers":   {1e6, func(int) answers { return answers{} }, false, "low", "high", 0, nil, 0},
		"failing":           {1e6, func(int) answers { return answers{both.completed, 1, nil} }, true, "low", "high", 0, []timing{foreign, self, foreign, self, foreign, self, foreign, self}, 4},
		"one kind":          {1e6, func(int) answers { return answered(self) }, false, "low", "high", 0, []timing{self, self, self, self}, 0},
		"each kind by turn": {1e6, func(n int) answers { return answered([]timing{foreign, self}[n%2]) }, true, "high", "high", 10, []timing{self, foreign, self, foreign}, 0},
	} {
		t.Run(what, func(t *testing.T) {
			s := stability{distance: 4, interval: time.Second, tolerance: 0.05, share: 0.95}
			doneAt := 0
			for n := 0; n < 40 && doneAt == 0; n++ {
				if n < 5 {
					s.add([]int64{1e6}, both) // saturated in the fourth, and rated once
				} else {
					s.add([]int64{c.bytes}, c.then(n))
				}
				if s.done() {
					doneAt = n
				}
			}
			if doneAt != c.doneAt || s.rated != c.rated || s.confidence() != c.confidence || s.fullness() != c.goodput {
				t.Errorf("done in interval %d, rated %v, confidence %s and %s; want %d, %v, %s and %s", doneAt, s.rated, s.confidence(), s.fullness(), c.doneAt, c.rated, c.confidence, c.goodput)
			}
			if completed, lost := s.window(); !slices.Equal(completed, c.completed) || lost != c.lost {
				t.Errorf("window %+v and %d lost, want %+v and %d", completed, lost, c.completed, c.lost)
			}
		})
	}
}

// TestOverdue: how long an answer may take depends on how long the answers of the window took.
func TestOverdue(t *testing.T) {
	s := stability{distance: 4, interval: time.Second, tolerance: 0.05, share: 0.95}
	for n, want := range []int{2, 1, 1, 1, 1, 2} {
		a := answers{underway: []time.Duration{4 * time.Second, 4001 * ms, 9001 * ms}}
		if n == 1 {
			a.completed = []timing{{foreign: true, took: 5 * time.Second}, {took: time.Second}}
		}
		s.add([]int64{1e6}, a)
		if _, lost := s.window(); lost != want {
			t.Errorf("%d lost in interval %d, want %d", lost, n, want)
		}
	}
}

// TestStability follows a link that is full after four intervals: its moving averages agree from the seventh... and so on.
func TestStability(t *testing.T) {
	s := stability{distance: 4, interval: time.Second, tolerance: 0.05, share: 0.95}
	quick := answered(timing{foreign: true, tcp: 20 * ms, tls: 20 * ms, http: 20 * ms}, timing{http: 20 * ms})
	n := 0
	step := func(bytes int64) {
		n++
		s.add([]int64{bytes}, quick)
	}
	for _, bytes := range []int64{100, 200, 400, 800} {
		if s.fullness() != "low" {
			t.Errorf("confidence in the rate %s after %d intervals, want low", s.fullness(), n)
		}
		step(bytes)
	}
	if s.fullness() != "medium" {
		t.Errorf("confidence in the rate %s, want medium", s.fullness())
	}
	if s.goodput(0) != 375 || s.saturated != 0 {
		t.Fatalf("goodput %v, saturated in %d; want the mean of four intervals, and not yet", s.goodput(0), s.saturated)
	}
	for s.saturated == 0 && n < 20 {
		step(800)
	}
	// Averages: 550, 700, 800, then four that agree: 700, 800, 800, 800 deviate by 43, 5 % of 800 being 40, so one more.
	if s.saturated != 10 || s.confidence() != "low" || s.fullness() != "high" {
		t.Errorf("saturated in interval %d with confidence %s, want 10 and low", s.saturated, s.confidence())
	}
	for !s.done() && n < 30 {
		step(800)
	}
	if n != 14 || s.confidence() != "high" || s.latest.rpm != 3000 {
		t.Errorf("done after %d intervals with confidence %s and %v rpm, want 14, high and 3000", n, s.confidence(), s.latest.rpm)
	}
	s.ratings = []float64{1000, 2000, 3000, 4000}
	if s.confidence() != "medium" {
		t.Errorf("confidence %s with ratings that grow, want medium", s.confidence())
	}
}

func TestParseConfiguration(t *testing.T) {
	ours := `{"version":1,"urls":{"small_download_url":"https://h:1/s","large_download_url":"https://h:1/l","upload_url":"https://h:1/u"},"test_endpoint":"e","more":[1]}`
	r, err := parseConfiguration([]byte(ours))
	if err != nil || r.small.String() != "https://h:1/s" || r.large.Path != "/l" || r.upload.Path != "/u" || r.endpoint != "e" {
		t.Errorf("%+v, %v", r, err)
	}
	old := `{"version":1,"urls":{"small_https_download_url":"https://h/s","large_https_download_url":"https://h/l","https_upload_url":"https://h/u"}}`
	if r, err = parseConfiguration([]byte(old)); err != nil || r.upload.String() != "https://h/u" {
		t.Errorf("with the older keys: %+v, %v", r, err)
	}
	for what, text := range map[string]string{
		"no JSON":         "<html>",
		"a list":          "[]",
		"another version": strings.Replace(ours, `"version":1`, `"version":2`, 1),
		"no version":      strings.Replace(ours, `"version":1,`, "", 1),
		"http":            strings.Replace(ours, "https://h:1/s", "http://h:1/s", 1),
		"no host":         strings.Replace(ours, "https://h:1/s", "https:///s", 1),
		"a password":      strings.Replace(ours, "https://h:1/s", "https://a:b@h:1/s", 1),
		"two hosts":       strings.Replace(ours, "https://h:1/u", "https://i:1/u", 1),
		"a URL missing":   strings.Replace(ours, "large", "larger", 1),
	} {
		if _, err := parseConfiguration([]byte(text)); !errors.Is(err, errConfiguration) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzParseConfiguration(f *testing.F) {
	f.Add([]byte(`{"version":1,"urls":{"small_download_url":"https://h/s","large_download_url":"https://h/l","upload_url":"https://h/u"}}`))
	f.Add([]byte(`{"version":1,"urls":{"small_download_url":"https://[::1%25a]:0/"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseConfiguration(text)
		if err == nil && (r.small.Hostname() == "" || r.large.Hostname() != r.small.Hostname() || r.upload.Scheme != "https") {
			t.Errorf("accepted %s", text)
		}
	})
}
