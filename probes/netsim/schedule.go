package netsim

import (
	"container/heap"
	"sync"
	"time"
)

// scheduler calls functions at given times, in the order of those times and, where they are equal, in the order in which
// they were handed in.
type scheduler struct {
	wait func(s *scheduler, until time.Time) // sleeps until the time, or less when woken

	mu     sync.Mutex
	events eventHeap
	seq    uint64
	closed bool
	wake   chan struct{}
}

func newScheduler() *scheduler {
	return &scheduler{wait: waitTimer, wake: make(chan struct{}, 1)}
}

// at has fn called at that time, or at once when it has passed. fn must not block. After close, nothing is called.
func (s *scheduler) at(t time.Time, fn func()) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.seq++
	heap.Push(&s.events, &event{at: t, seq: s.seq, fn: fn})
	first := s.events[0].seq == s.seq
	s.mu.Unlock()
	if first {
		s.poke()
	}
}

func (s *scheduler) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// close makes run return. What is still to come is dropped.
func (s *scheduler) close() {
	s.mu.Lock()
	s.closed = true
	s.events = nil
	s.mu.Unlock()
	s.poke()
}

// run calls what is due until close. Liveness: it ends when the function it is in returns after close.
func (s *scheduler) run() {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return
		}
		var next *event
		var until time.Time
		if len(s.events) > 0 {
			until = s.events[0].at
			if !until.After(time.Now()) {
				next = heap.Pop(&s.events).(*event)
			}
		}
		s.mu.Unlock()
		if next != nil {
			next.fn()
			continue
		}
		s.wait(s, until)
	}
}

// waitTimer sleeps until the time, for ever when it is zero, and returns early when woken. In a synctest bubble it
// returns at exactly that time.
func waitTimer(s *scheduler, until time.Time) {
	if until.IsZero() {
		<-s.wake
		return
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.wake:
	}
}

// event is one call to come.
type event struct {
	at  time.Time
	seq uint64
	fn  func()
}

// eventHeap implements heap.Interface, earliest first.
type eventHeap []*event

func (h eventHeap) Len() int { return len(h) }

func (h eventHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].seq < h[j].seq
	}
	return h[i].at.Before(h[j].at)
}

func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *eventHeap) Push(x any) { *h = append(*h, x.(*event)) }

// Pop implements heap.Interface.
func (h *eventHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
