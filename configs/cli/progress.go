package cli

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nrprobe/nrprobe/probes"
)

// progressDelay is how long a measurement may take before a person wants to see that something happens.
const progressDelay = 2 * time.Second

// progress redraws one line on the terminal while a probe measures. Without a terminal it does nothing.
type progress struct {
	p    *Process
	job  probes.Job
	quit chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	drawn bool
}

func (p *Process) newProgress(job probes.Job) *progress {
	return &progress{p: p, job: job, quit: make(chan struct{})}
}

// watch begins to draw what the recorder holds.
// Liveness: the goroutine ends when stop is called, and stop waits for it.
func (s *progress) watch(r *probes.Recorder) {
	if !s.p.Terminal {
		return
	}
	s.done.Go(func() {
		begin := time.Now()
		tick := time.NewTicker(200 * time.Millisecond) // slow enough to read, quick enough to look alive
		defer tick.Stop()
		for {
			select {
			case <-s.quit:
				return
			case now := <-tick.C:
				if now.Sub(begin) >= progressDelay {
					s.draw(r.Snapshot(), now.Sub(begin))
				}
			}
		}
	})
}

func (s *progress) draw(r *probes.Result, elapsed time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drawn = true
	line := headline(r)
	if state := r.Info["lease"]; strings.HasPrefix(state, "waiting") {
		line = state + " of the load tests at the far end"
	}
	fmt.Fprintf(s.p.Stderr, "\r\x1b[K%s %s  %s  %s", s.job.Kind, s.job.Target, elapsed.Truncate(100*time.Millisecond), line)
}

// clear takes the line away so that something else can be printed.
func (s *progress) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drawn {
		fmt.Fprint(s.p.Stderr, "\r\x1b[K")
		s.drawn = false
	}
}

func (s *progress) stop() {
	close(s.quit)
	s.done.Wait()
	s.clear()
}
