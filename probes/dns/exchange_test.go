package dns

import (
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/nrprobe/nrprobe/probes"
	"github.com/nrprobe/nrprobe/probes/netsim"
	"github.com/nrprobe/nrprobe/probes/probetest"
)

// TestPacketsThatAreNoAnswers: what comes beside an answer over UDP does not disturb it, and a copy of the answer before
// is not held against the server.
func TestPacketsThatAreNoAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := netsim.State{Delay: 10 * time.Millisecond, Duplicate: 1}
		r := setting{link: link, change: func(c *Config) { c.Keep = true }}.measure(t)
		if r.Outcome != probes.OK {
			t.Errorf("%s: %s", r.Outcome, r.Error)
		}
		probetest.Expect(t, r, map[string]float64{"packets_received": 5, "answer_max_seconds": 0.02})
	})
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		q := question{id: 7, name: dnsmessage.MustNewName("example.com."), kind: dnsmessage.TypeA}
		asked, err := query(q)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			b := make([]byte, 512)
			n, _ := far.Read(b)
			_, _ = far.Write([]byte("x"))
			_, _ = far.Write(b[:n])
			_, _ = far.Write(zone(b[:n]))
		})
		if r, err := overPackets(near)(t.Context(), asked, q); err != nil || r.records != 2 {
			t.Errorf("%v, %v", r, err)
		}
		wg.Wait()
	})
}
