package load

import "testing"

func TestParseOctets(t *testing.T) {
	const text = "Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n" +
		"    lo: 7 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n" +
		" wwan0:5368709121 3 0 0 0 0 0 0 4294967297 5 0 0 0 0 0 0\n"
	if got, ok := parseOctets([]byte(text), "wwan0"); !ok || got != (Octets{Up: 4294967297, Down: 5368709121}) {
		t.Errorf("wwan0: %v, %v", got, ok)
	}
	for _, name := range []string{"wwan", "eth0", "face |bytes    packets errs drop fifo frame compressed multicast|bytes"} {
		if got, ok := parseOctets([]byte(text), name); ok {
			t.Errorf("%s: %v", name, got)
		}
	}
	if _, ok := processorWait(); !ok {
		t.Log("this kernel does not count how long threads wait for a processor")
	}
}

func FuzzParseOctets(f *testing.F) {
	f.Add([]byte("wwan0: 1 2 3 4 5 6 7 8 9 10"), "wwan0")
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		if got, ok := parseOctets(text, name); ok && (got.Up < 0 || got.Down < 0) {
			t.Errorf("%v", got)
		}
	})
}
