package netsim

import (
	"sync"
	"time"
)

// deadline is a moment that may be moved. Its channel is closed while the moment has passed.
type deadline struct {
	mu     sync.Mutex
	timer  *time.Timer
	passed chan struct{}
}

func newDeadline() *deadline { return &deadline{passed: make(chan struct{})} }

// set moves the moment; the zero time means never. Waiters see the new moment.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.passed // the timer has fired: wait until its function has closed the channel, that it does not close a new one
	}
	d.timer = nil
	if d.expiredLocked() {
		d.passed = make(chan struct{})
	}
	if t.IsZero() {
		return
	}
	if left := time.Until(t); left > 0 {
		passed := d.passed
		d.timer = time.AfterFunc(left, func() { close(passed) })
		return
	}
	close(d.passed)
}

// wait returns the channel that is closed once the moment has passed.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}

func (d *deadline) expired() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.expiredLocked()
}

func (d *deadline) expiredLocked() bool {
	select {
	case <-d.passed:
		return true
	default:
		return false
	}
}
