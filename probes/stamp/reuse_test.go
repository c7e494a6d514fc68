package stamp

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// reuse has a TWAMP-Light sender, whose clock is that of the reflector, send count requests, one each 10 ms, each written over
// the latest reply that it has, which is that to the request behind earlier; lost replies never come. It returns how many were
// answered and the last reply.
func reuse(t *testing.T, rs *responder, count, behind int, lost func(n int) bool) (answered int, last []byte) {
	t.Helper()
	m := rs.sign.mode()
	replies := make([][]byte, count)
	buffer := make([]byte, m.base())
	for i := range count {
		if i >= behind && replies[i-behind] != nil {
			buffer = replies[i-behind]
		}
		packet, now := bytes.Clone(buffer), time.Now().UnixNano()
		binary.BigEndian.PutUint32(packet, uint32(i))
		putDeparture(packet, m, newTimestamp(now, formatNTP))
		if rs.sign != nil {
			rs.sign.signBase(packet)
		}
		x := exchange{arrival: goldenArrival()}
		x.t2 = now + int64(3*ms)
		if rs.answer(packet, len(packet), &x) > 0 {
			rs.depart(packet, x.t2+int64(50*time.Microsecond))
			answered, last = answered+1, packet
			if !lost(i) {
				replies[i] = packet
			}
		}
		time.Sleep(10 * ms)
	}
	return answered, last
}

// TestSendersThatReuseTheReplyAreAnswered though what they leave in their requests looks like the times of a reply, and a reply
// of ours that comes back is still none.
func TestSendersThatReuseTheReplyAreAnswered(t *testing.T) {
	for name, c := range map[string]struct {
		behind int
		lost   func(n int) bool
	}{
		"one at a time":      {1, func(int) bool { return false }},
		"many on their way":  {keptArrivals, func(int) bool { return false }},
		"each third lost":    {1, func(n int) bool { return n%3 == 0 }},
		"a second of losses": {4, func(n int) bool { return n >= 100 && n < 200 }},
	} {
		for _, key := range [][]byte{nil, bytes.Repeat([]byte{7}, 16)} {
			synctest.Test(t, func(t *testing.T) {
				rs := newResponder(t, Reflector{Key: key})
				answered, last := reuse(t, rs, 1000, c.behind, c.lost)
				if answered != 1000 {
					t.Errorf("%s, key %x: %d answers to 1000 requests", name, key, answered)
				}
				if n := rs.answer(last, len(last), &exchange{arrival: goldenArrival()}); n != 0 {
					t.Errorf("%s, key %x: our own reply was answered", name, key)
				}
			})
		}
	}
}

// TestWhatIsTakenForRepliesIsLogged once a minute, with how to be answered. A reflector that remembers no senders cannot know
// those that reuse the reply: the first request is answered, and one each second, when that reply is old.
func TestWhatIsTakenForRepliesIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told strings.Builder
		rs := newResponder(t, Reflector{Stateless: true, Log: slog.New(slog.NewJSONHandler(&told, &slog.HandlerOptions{ReplaceAttr: untimed}))})
		if answered, _ := reuse(t, rs, 7000, 1, func(int) bool { return false }); answered != 70 {
			t.Errorf("%d answers, want 70", answered)
		}
		const line = `{"level":"WARN","msg":"STAMP packets not answered, because they look like replies of another reflector",` +
			`"latest_from":"203.0.113.9:54321","packets":%,"remedy":"a sender there has to zero octets 16 to 43 of its requests ` +
			`(with a key 28 to 95); if there is none, somebody forges that address"}` + "\n"
		if want := strings.Replace(line, "%", "1", 1) + strings.Replace(line, "%", "5941", 1); told.String() != want {
			t.Errorf("logged\n%swant\n%s", told.String(), want)
		}
	})
}

// untimed leaves the time out of log lines.
func untimed(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
