package stamp

import (
	"testing"
	"time"
)

func TestWhatTheKernelSaysOfInterfaces(t *testing.T) {
	const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
 wwan0:75435022543398   33990    0    0    0     0          0         0  3506494   33990    0    0    0     0       0          0
  bad0: 1 2 3
`
	if got, ok := parseOctets([]byte(text), "wwan0"); !ok || got != (traffic{up: 3506494, down: 75435022543398}) {
		t.Errorf("wwan0: %v, %v", got, ok)
	}
	for _, name := range []string{"bad0", "wwan", "eth0", ""} {
		if got, ok := parseOctets([]byte(text), name); ok {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestWhatTheKernelSaysOfThreads(t *testing.T) {
	if got, ok := parseRunDelay([]byte("291958 175230 2\n")); !ok || got != 175230 {
		t.Errorf("%v, %v", got, ok)
	}
	for _, text := range []string{"", "1", "1 x 2", "1 -5 2"} {
		if got, ok := parseRunDelay([]byte(text)); ok {
			t.Errorf("%q: %v", text, got)
		}
	}
	if before, ok := processorWait(); ok {
		if after, _ := processorWait(); after < before || after-before > time.Hour {
			t.Errorf("waited for %v, and a moment later for %v", before, after)
		}
	}
}
