package stamp

import (
	"encoding/binary"
	"net"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// floodServer is a server on the loopback interface that works in turns, and sockets of its clients.
func floodServer(t *testing.T, clients int, r Reflector) (*server, []*net.UDPConn) {
	t.Helper()
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Skipf("no UDP here: %v", err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	raw, err := rawConn(pc)
	if err != nil {
		t.Fatal(err)
	}
	if err := setStamps(raw, stampArrivals|nameDepartures); err != nil {
		t.Skipf("no time stamps here: %v", err)
	}
	if err := askForHeader(raw); err != nil {
		t.Fatal(err)
	}
	_ = pc.SetReadBuffer(socketBuffer)
	var conns []*net.UDPConn
	for range clients {
		conn, err := net.DialUDP("udp", nil, pc.LocalAddr().(*net.UDPAddr))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Minute)); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	return newServer(raw, addrPort(pc.LocalAddr()).Port(), newResponder(t, r)), conns
}

func requestOf(size int) []byte {
	return newTemplate(&Config{Size: size, TLVs: true}, nil, 7, newRandom()).depart(golden.UnixNano())
}

// TestFloodIsAnsweredPacketByPacket sends full batches in which rows of equal requests alternate with others, and looks
// at each reply. refuse makes the kernel take no bundles, as it does where they cannot leave as they are.
func TestFloodIsAnsweredPacketByPacket(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		s, clients := floodServer(t, 2, Reflector{})
		if refuse {
			var failed error
			err := s.raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1) })
			if err != nil || failed != nil {
				t.Fatal(err, failed)
			}
		}
		type packet struct{ seq, size int }
		var want [2][]packet
		for seq := 0; seq < 2*serveBatch; {
			for range serveBatch {
				p, client := packet{seq: seq, size: 100}, seq/20%2
				if seq%9 == 0 {
					p.size = 144
				}
				request := requestOf(p.size)
				binary.BigEndian.PutUint32(request, uint32(seq))
				if _, err := clients[client].Write(request); err != nil {
					t.Fatal(err)
				}
				want[client] = append(want[client], p)
				seq++
			}
			for answered := 0; answered < serveBatch; answered += s.received {
				if err := s.turn(); err != nil || s.failed != nil {
					t.Fatal(err, s.failed)
				}
			}
		}
		for c, list := range want {
			for n, p := range list {
				var r reply
				b := make([]byte, 2000)
				size, err := clients[c].Read(b)
				if err != nil {
					t.Fatalf("client %d, reply %d of %d: %v", c, n, len(list), err)
				}
				if !r.parse(b[:size], unauthenticated) || size != p.size || r.senderSeq != uint32(p.seq) || r.seq != uint32(n) || r.t3 < r.t2 || r.t2 == 0 {
					t.Fatalf("client %d, reply %d: %d octets, %+v; want %+v", c, n, size, r, p)
				}
			}
		}
		if refuse && s.bundles.longest != 99 {
			t.Errorf("bundles of %d octets a packet are still tried after the kernel refused them", s.bundles.longest)
		}
		if !refuse && s.bundles.longest == 0 {
			t.Log("this kernel has no UDP_SEGMENT: nothing was bundled")
		}
	}
}

// TestBundlesHoldWhatBelongsTogether looks at how a batch is cut into rows.
func TestBundlesHoldWhatBelongsTogether(t *testing.T) {
	s, _ := floodServer(t, 0, Reflector{})
	if s.bundles.longest == 0 {
		t.Skip("this kernel has no UDP_SEGMENT")
	}
	s.received = serveBatch
	for i := range serveBatch {
		size := 100
		if i >= 50 {
			size = longestBundled + 1
		}
		s.put(i, size, uint16(1000+i/40))
	}
	s.answer(0, serveBatch)
	if s.asked != 0 {
		t.Errorf("%d departures are to be stamped in a full batch, whose replies leave together", s.asked)
	}
	var got []int
	for _, r := range s.bundles.rows {
		got = append(got, r.end-r.first)
	}
	if want := []int{40, 10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("rows of %v, want %v", got, want)
	}
}

// put makes message i of the batch a request as if it had been received.
func (s *server) put(i, size int, port uint16) {
	h := &s.requests.headers[i]
	h.len = uint32(copy(s.requests.messages[i].payload, requestOf(size)))
	h.hdr.SetControllen(0)
	name := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.requests.messages[i].name))
	*name = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port, Addr: [4]byte{192, 0, 2, 1}}
}

// TestDeparturesAreStampedInTheCalm holds when a reply's departure is asked for: not when the server is kept busy.
func TestDeparturesAreStampedInTheCalm(t *testing.T) {
	for _, c := range []struct {
		received, pressed int
		want              uint32
	}{{1, 1, 1}, {calmBatch, 1, 1}, {calmBatch + 1, 1, 0}, {1, pressedTurns - 1, 1}, {1, pressedTurns, 0}} {
		s, _ := floodServer(t, 0, Reflector{})
		s.put(0, 200, 1000)
		s.received, s.pressed = c.received, c.pressed
		if s.answer(0, 1); s.asked != c.want {
			t.Errorf("%d requests at once, %d turns without a pause: %d departures asked for, want %d", c.received, c.pressed, s.asked, c.want)
		}
	}
}

// TestServingAllocatesNothing holds for the calm, where packets are answered one by one, as for a flood.
func TestServingAllocatesNothing(t *testing.T) {
	secret := []byte("0123456789abcdef")
	sign, err := newSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	keyed := newTemplate(&Config{Size: 300, TLVs: true}, sign, 7, newRandom())
	keyed.prepare(0)
	for name, c := range map[string]struct {
		count   int
		far     Reflector
		request []byte
	}{
		"calm":        {1, Reflector{Leases: func() int { return 1 }}, requestOf(200)},
		"flood":       {serveBatch, Reflector{}, requestOf(200)},
		"keyed flood": {serveBatch, Reflector{Key: secret}, keyed.depart(golden.UnixNano())},
	} {
		s, clients := floodServer(t, 1, c.far)
		s.respond.lookout.lost = dropsOf(s.raw)
		count, request, b := c.count, c.request, make([]byte, 2000)
		allocated := testing.AllocsPerRun(200, func() {
			for range count {
				if _, err := clients[0].Write(request); err != nil {
					t.Fatal(err)
				}
			}
			for answered := 0; answered < count; answered += s.received {
				if err := s.turn(); err != nil || s.failed != nil {
					t.Fatal(err, s.failed)
				}
			}
			for range count {
				if _, err := clients[0].Read(b); err != nil {
					t.Fatal(err)
				}
			}
		})
		if allocated != 0 {
			t.Errorf("%s: %v allocations for %d packets", name, allocated, count)
		}
	}
}
