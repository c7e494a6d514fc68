package probetest

import (
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// NameServer answers DNS queries over UDP, on a loopback port of its own and until the test ends. answer completes a reply
// that bears the number and the questions of its query already; it is called from one goroutine.
func NameServer(t testing.TB, answer func(reply *dnsmessage.Message)) (address string) {
	t.Helper()
	pc, err := Loopback{}.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		b := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			reply, err := answered(b[:n], answer)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = pc.WriteTo(reply, from)
		}
	})
	t.Cleanup(func() {
		_ = pc.Close()
		serving.Wait()
	})
	return pc.LocalAddr().String()
}

func answered(query []byte, answer func(reply *dnsmessage.Message)) ([]byte, error) {
	var asked dnsmessage.Message
	if err := asked.Unpack(query); err != nil {
		return nil, err
	}
	reply := dnsmessage.Message{Header: dnsmessage.Header{ID: asked.ID, Response: true, RecursionAvailable: true}, Questions: asked.Questions}
	answer(&reply)
	return reply.Pack()
}
