package agent

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/nrprobe/nrprobe/probes"
)

// TestALateProbeLeavesATrace runs two agents one after the other, of which each has the flight recorder of the process.
func TestALateProbeLeavesATrace(t *testing.T) {
	for range 2 {
		dir := filepath.Join(t.TempDir(), "flight")
		d := newDiary()
		c := configOf(t, d, "flight_recorder: "+dir+"\nprobes: [{name: p, kind: ping, target: one, every: 1m}]\n")
		a, err := New(c, Deps{Kinds: d.kinds(), Network: noNet, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		err = a.session(t.Context(), func(context.Context) {
			a.results <- &probes.Result{Probe: "p"}
			a.results <- &probes.Result{Probe: "p", Quality: probes.ScheduleLate}
		})
		if err != nil {
			t.Fatal(err)
		}
		if found, err := filepath.Glob(filepath.Join(dir, "late-*.trace")); err != nil || len(found) != 1 {
			t.Errorf("traces: %q, %v: want one", found, err)
		}
	}
}
