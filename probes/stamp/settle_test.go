package stamp

import (
	"testing"
	"time"
)

// TestTheLastWindowStays: a sender that comes late to the end of a window still finds one to send into.
func TestTheLastWindowStays(t *testing.T) {
	l := &ledger{timeout: time.Second}
	l.open(&window{end: time.Second})
	if yes, at := l.settled(2 * time.Second); yes || at != forever {
		t.Errorf("the only window is settled: %v, at %v", yes, at)
	}
	l.open(&window{start: time.Second, end: forever})
	if yes, at := l.settled(2 * time.Second); !yes || at != time.Second {
		t.Errorf("the window before the last one is settled: %v, at %v", yes, at)
	}
}
