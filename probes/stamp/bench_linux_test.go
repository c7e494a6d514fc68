package stamp

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkAnswer is the work of a reflector on one packet without the socket's.
func BenchmarkAnswer(b *testing.B) {
	for _, c := range []struct {
		name string
		key  []byte
		tlvs bool
	}{{"plain", nil, false}, {"extensions", nil, true}, {"authenticated", []byte("0123456789abcdef"), true}} {
		b.Run(c.name, func(b *testing.B) {
			rs, err := (&Reflector{Key: c.key}).responder()
			if err != nil {
				b.Fatal(err)
			}
			sign, err := newSigner(c.key)
			if err != nil {
				b.Fatal(err)
			}
			t := newTemplate(&Config{Size: 300, TLVs: c.tlvs}, sign, 7, newRandom())
			t.prepare(0)
			packet, buffer := t.depart(golden.UnixNano()), make([]byte, 300)
			b.ReportAllocs()
			for b.Loop() {
				n := copy(buffer, packet)
				x := exchange{arrival: sampleArrival}
				if rs.answer(buffer, n, &x) == 0 {
					b.Fatal("no answer")
				}
				rs.depart(buffer[:n], 1)
			}
		})
	}
}

// BenchmarkServe floods a reflector on the loopback interface and reports how many packets it answers in a second of
// its thread's processor time, the kernel's share included.
func BenchmarkServe(b *testing.B) {
	port := serveLoopback(b, "127.0.0.1:0", &Reflector{}).Port()
	conn, err := net.Dial("udp", net.JoinHostPort("127.0.0.1", itoa(port)))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	t := newTemplate(&Config{Size: 200}, nil, 7, newRandom())
	t.prepare(0)
	packet := t.depart(time.Now().UnixNano())
	raw, err := rawConn(conn)
	if err != nil {
		b.Fatal(err)
	}
	out, in := newBatch(serveBatch, 200), newBatch(serveBatch, 200)
	for i := range out.messages {
		copy(out.messages[i].payload, packet)
		m, h := &out.messages[i], &out.headers[i].hdr
		m.iov.Base = &m.payload[0]
		m.iov.SetLen(200)
		h.Iov = &m.iov
		h.SetIovlen(1)
	}
	answered := 0
	b.ReportAllocs()
	for b.Loop() {
		err := raw.Control(func(fd uintptr) { _, _ = out.send(fd, 0, serveBatch) })
		if err != nil {
			b.Fatal(err)
		}
		for got := 0; got < serveBatch; {
			if err := raw.Read(func(fd uintptr) bool {
				n, errno := in.receive(fd, 0)
				got += n
				return errno != unix.EAGAIN
			}); err != nil {
				b.Fatal(err)
			}
		}
		answered += serveBatch
	}
	b.ReportMetric(float64(answered)/b.Elapsed().Seconds(), "replies/s")
}
