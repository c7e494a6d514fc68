package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nrprobe/nrprobe/probes/survey"
)

func TestTestCommandRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no host", []string{"test"}, 2, "see nrprobe test --help"},
		{"a port", []string{"test", "host:8620"}, 2, `"host:8620": want a host without a port`},
		{"no unit", []string{"test", "host", "--max-bytes", "lots"}, 2, `--max-bytes: "lots" is not a size`},
		{"too few bytes", []string{"test", "host", "--max-bytes", "1MB"}, 2, "1MB is below the minimum of 2MB"},
		{"bad report", []string{"test", "host", "--report", "/nonexistent/a.html"}, 2, "--report: open /nonexistent/a.html"},
		{"no such name", []string{"test", "nrprobe.invalid"}, 4, "nrprobe.invalid could not be reached"},
		{"no such name, JSON", []string{"test", "nrprobe.invalid", "--json"}, 4, `"outcome":"unreachable"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			stdout, stderr, code := run(t, c.args...)
			if code != c.code || !strings.Contains(stderr+stdout, c.want) {
				t.Errorf("exit code %d, want %d; output lacks %q:\n%s%s", code, c.code, c.want, stderr, stdout)
			}
		})
	}
}

func TestTestCommandWritesItsReport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "link.html")
	stdout, _, _ := run(t, "test", "nrprobe.invalid", "--json", "--report", path)
	var object struct{ Schema, Target, Outcome, Error string }
	if err := json.Unmarshal([]byte(stdout), &object); err != nil || object.Schema != survey.Schema || object.Error == "" {
		t.Errorf("%v: %s", err, stdout)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), "nrprobe.invalid could not be reached") {
		t.Errorf("%v: %.500s", err, text)
	}
}

func TestTestHelpDefinesItsFigures(t *testing.T) {
	stdout, _, code := run(t, "test", "--help")
	for _, want := range []string{"A+ below 5 ms, A below 30, B below 60, C below 200, D below 400, F from", "60 s divided by the median round trip", "not the\nresponsiveness of", "--max-bytes", "exit code is 130"} {
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("the help lacks %q:\n%s", want, stdout)
		}
	}
}

func TestSurveyLine(t *testing.T) {
	for want, s := range map[string]survey.Status{
		"[········]  0/30 s  warm-up      ": {Label: "warm-up", Planned: 30 * time.Second},
		"[####····] 15/30 s  both ways      ↓ 344 Mbit/s  ↑ 49.6 Mbit/s  49.2ms": {
			Label: "both ways", Planned: 30 * time.Second, Elapsed: 15 * time.Second, Down: 43e6, Up: 6.2e6, Latency: 49200 * time.Microsecond,
		},
		"[#·······]  5/30 s  waiting for other load tests: position 2": {
			Label: "idle", Planned: 30 * time.Second, Elapsed: 5 * time.Second, Waiting: "position 2", Latency: time.Millisecond,
		},
		"[########] 40/30 s  QUIC upload    ↑ 49.6 Mbit/s": {Label: "QUIC upload", Planned: 30 * time.Second, Elapsed: 40 * time.Second, Up: 6.2e6},
	} {
		got := surveyLine(s)
		if got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		if n := len([]rune(got)); n > 79 {
			t.Errorf("%d columns do not fit: %s", n, got)
		}
	}
}
