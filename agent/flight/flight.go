// Package flight keeps the last seconds of the execution trace of this program's own runtime, and writes them to a file when
// a Result says that the instrument was late: `go tool trace FILE` then shows whether the process waited for a processor,
// for the collector of garbage, for a lock or for the disk.
package flight

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/trace"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// Config says where traces go. Exactly one of Dir and File is set.
type Config struct {
	// Dir is a folder that gets a file each time, at most one a minute. Only the newest five of them are kept.
	Dir string
	// File is written once, for the first Result that is late, and replaced if it is there.
	File string
}

const (
	// window is how much of the past is kept: a Result comes as long after what it tells of as its window is long and its
	// last packet is waited for, 13 s at an agent's usual settings.
	window = 20 * time.Second
	// size bounds the memory that takes, about. What an idle agent does in the window is a tenth of it.
	size = 8 << 20
	// pause lies between two files of a folder: a machine that is late all the time has nothing new to tell each second.
	pause = time.Minute
	// kept is how many files a folder has at most.
	kept = 5

	prefix, suffix = "late-", ".trace"
)

// Recorder records until Close. Its methods are safe for concurrent use; those of the nil Recorder do nothing.
type Recorder struct {
	config Config
	log    *slog.Logger
	write  func(w io.Writer) error
	stop   func()

	mu   sync.Mutex
	last time.Time // of the last file
}

// Start begins to record. There can be one flight recorder in a process; a second one is an error, as is a folder that
// cannot be made.
func Start(c Config, log *slog.Logger) (*Recorder, error) {
	if (c.Dir == "") == (c.File == "") {
		return nil, errors.New("flight recorder: want either a folder or a file")
	}
	if c.Dir != "" {
		if err := os.MkdirAll(c.Dir, 0o755); err != nil {
			return nil, fmt.Errorf("flight recorder: %w", err)
		}
	}
	f := trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: window, MaxBytes: size})
	if err := f.Start(); err != nil {
		return nil, fmt.Errorf("flight recorder: %w", err)
	}
	write := func(w io.Writer) error {
		_, err := f.WriteTo(w)
		return err
	}
	return &Recorder{config: c, log: log, write: write, stop: f.Stop}, nil
}

// Close ends the recording.
func (r *Recorder) Close() {
	if r != nil {
		r.stop()
	}
}

// Look writes a file if the Result is flagged schedule_late or cpu_starved and its time has come. It blocks while it
// writes. What goes wrong is logged.
func (r *Recorder) Look(result *probes.Result) {
	if r == nil || result.Quality&(probes.ScheduleLate|probes.CPUStarved) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if !r.last.IsZero() && (r.config.File != "" || now.Sub(r.last) < pause) {
		return
	}
	r.last = now
	path, err := r.dump(now)
	if err != nil {
		r.log.Warn("no trace of why the probe was late", "probe", result.Probe, "error", err.Error())
		return
	}
	r.log.Info("the probe was late: go tool trace shows why", "probe", result.Probe, "flags", result.Quality.String(), "file", path)
}

// dump writes what is recorded under another name first, so that a file is either whole or not there.
func (r *Recorder) dump(now time.Time) (path string, err error) {
	path = r.config.File
	if path == "" {
		path = filepath.Join(r.config.Dir, prefix+now.UTC().Format("20060102T150405Z")+suffix)
	}
	file, err := os.Create(path + ".part")
	if err != nil {
		return "", err
	}
	err = errors.Join(r.write(file), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}
	return path, r.prune()
}

// prune removes all but the newest files of the folder: their names are in the order of time.
func (r *Recorder) prune() error {
	if r.config.Dir == "" {
		return nil
	}
	entries, err := os.ReadDir(r.config.Dir)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && strings.HasSuffix(e.Name(), suffix) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	for _, name := range names[:max(0, len(names)-kept)] {
		err = errors.Join(err, os.Remove(filepath.Join(r.config.Dir, name)))
	}
	return err
}
