package flight

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nrprobe/nrprobe/probes"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestTheNewestFilesOfAFolderAreKept(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		written := 0
		r := &Recorder{config: Config{Dir: dir}, log: quiet(), write: func(w io.Writer) error {
			written++
			_, err := io.WriteString(w, "trace")
			return err
		}}
		r.Look(&probes.Result{Quality: probes.UserStamps | probes.KernelRefused})
		if written != 0 {
			t.Error("a result that was on time was traced")
		}
		// A late result each 20 s for seven minutes: one file a minute.
		for range 21 {
			r.Look(&probes.Result{Quality: probes.ScheduleLate})
			time.Sleep(20 * time.Second)
		}
		if written != 7 {
			t.Errorf("%d files written, want 7", written)
		}
	})
	// The bubble begins at midnight, 2000-01-01 UTC; files of the first two minutes are gone.
	want := []string{
		"late-20000101T000200Z.trace", "late-20000101T000300Z.trace", "late-20000101T000400Z.trace",
		"late-20000101T000500Z.trace", "late-20000101T000600Z.trace",
	}
	if diff := cmp.Diff(want, files(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestOneFileIsWrittenOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "why.trace")
	r, err := Start(Config{File: path}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := Start(Config{File: path}, quiet()); err == nil {
		t.Error("a second flight recorder started")
	}
	r.Look(&probes.Result{Quality: probes.CPUStarved})
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(text), "go 1.") || !strings.Contains(string(text[:16]), " trace") {
		t.Fatalf("%v: file begins with %q", err, text[:min(16, len(text))])
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.Look(&probes.Result{Quality: probes.CPUStarved})
	if list := files(t, filepath.Dir(path)); len(list) != 0 {
		t.Errorf("written again: %v", list)
	}
}

func TestWhatCannotBeWrittenLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	r := &Recorder{config: Config{Dir: dir}, log: quiet(), write: func(io.Writer) error { return errors.New("disk full") }}
	r.Look(&probes.Result{Quality: probes.ScheduleLate})
	if list := files(t, dir); len(list) != 0 {
		t.Errorf("left behind: %v", list)
	}
	for _, c := range []Config{{}, {Dir: dir, File: "x"}, {Dir: filepath.Join(dir, "\x00")}} {
		if r, err := Start(c, quiet()); err == nil {
			r.Close()
			t.Errorf("%+v: started", c)
		}
	}
	var none *Recorder
	none.Look(&probes.Result{Quality: probes.ScheduleLate})
	none.Close()
}
