package probetest

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nrprobe/nrprobe/configs/catalog"
	"github.com/nrprobe/nrprobe/probes"
)

// testDescribed holds the kind's words: what the command line, the README and the reference are made of.
func (s Suite) testDescribed(t *testing.T) {
	k := s.Kind
	if !regexp.MustCompile(`^[a-z][a-z0-9_]*$`).MatchString(k.Name) {
		t.Errorf("name %q is not one lower-case word", k.Name)
	}
	if k.Summary == "" || strings.HasSuffix(k.Summary, ".") || strings.Contains(k.Summary, "\n") {
		t.Errorf("summary %q is not one line without a full stop", k.Summary)
	}
	if k.Help == "" {
		t.Error("no help")
	}
	if !strings.HasPrefix(k.Example, "nrprobe probe "+k.Name+" ") {
		t.Errorf("example %q does not begin with nrprobe probe %s", k.Example, k.Name)
	}
	if len(k.Metrics) == 0 {
		t.Error("no metrics")
	}
	for _, m := range k.Metrics {
		if !slices.Contains(probes.Vocabulary(), m) {
			t.Errorf("metric %s is not in the vocabulary", m.Stem)
		}
	}
}

// testConfiguration sets every setting to its own default: what a user reads in the help must be accepted back.
func (s Suite) testConfiguration(t *testing.T) {
	config, fresh := s.Kind.NewConfig(), s.Kind.NewConfig()
	if !reflect.DeepEqual(config, fresh) {
		t.Error("two fresh configurations differ")
	}
	seen := map[string]bool{}
	for _, f := range catalog.Fields(config) {
		if !regexp.MustCompile(`^[a-z][a-z0-9_]*$`).MatchString(f.Key) || seen[f.Key] {
			t.Errorf("key %q appears twice or is not in snake_case", f.Key)
		}
		seen[f.Key] = true
		if f.Help == "" || strings.HasSuffix(f.Help, ".") {
			t.Errorf("%s: help %q is not a phrase without a full stop", f.Key, f.Help)
		}
		if !f.IsScalar() || f.Required && f.IsZero() {
			continue
		}
		if err := f.Set(f.String()); err != nil {
			t.Errorf("%s: the default is not valid: %v", f.Key, err)
		}
	}
	if !reflect.DeepEqual(config, fresh) {
		t.Errorf("setting every value to its own text changed the configuration:\n%+v\n%+v", config, fresh)
	}
	timeout := s.Kind.Timeout(config)
	if timeout < 0 || timeout == 0 && !s.Kind.Continuous {
		t.Errorf("a run with the defaults may take %v, and the kind is not continuous", timeout)
	}
}

func (s Suite) testBuildOpensNothing(t *testing.T) {
	target, err := probes.ParseTarget(FarName, s.Kind.Port)
	if err != nil {
		t.Fatal(err)
	}
	for _, config := range []any{s.Kind.NewConfig(), s.config()} {
		probe, err := s.Kind.Build(config, Env(t, refusing{t}), target)
		if err != nil || probe == nil {
			t.Errorf("building with %+v: %v, %v", config, probe, err)
		}
	}
}

// testQuiet runs a probe in an empty folder with standard output and error caught.
func (s Suite) testQuiet(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder)
	caught, err := os.CreateTemp(t.TempDir(), "output")
	if err != nil {
		t.Fatal(err)
	}
	defer caught.Close()
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = caught, caught
	defer func() { os.Stdout, os.Stderr = stdout, stderr }()
	synctest.Test(t, func(t *testing.T) {
		b := s.bench(t)
		s.serve(b)
		s.measure(b.ctx, b)
	})
	os.Stdout, os.Stderr = stdout, stderr
	if text, err := os.ReadFile(caught.Name()); err != nil || len(text) > 0 {
		t.Errorf("wrote to standard output or error: %q, %v", text, err)
	}
	if files, err := os.ReadDir(folder); err != nil || len(files) > 0 {
		t.Errorf("left files in the current folder: %v, %v", files, err)
	}
}
