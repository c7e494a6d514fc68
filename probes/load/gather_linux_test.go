package load

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/nrprobe/nrprobe/probes"
)

// segmented is the control message that has the kernel cut what is sent into datagrams of that size.
func segmented(size int) []byte {
	b := make([]byte, unix.CmsgSpace(2))
	binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(2)))
	binary.NativeEndian.PutUint32(b[unix.SizeofCmsghdr-8:], unix.IPPROTO_UDP)
	binary.NativeEndian.PutUint32(b[unix.SizeofCmsghdr-4:], unix.UDP_SEGMENT)
	binary.NativeEndian.PutUint16(b[unix.CmsgLen(0):], uint16(size))
	return b
}

// TestGatherHandsOutEachDatagram: what the sender's kernel cut, and the receiver's left together, comes out as it was sent,
// whatever the number of places, and so does what was sent one by one, an empty one apart.
func TestGatherHandsOutEachDatagram(t *testing.T) {
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	g, ok := Gather(pc).(*gathered)
	if !ok {
		t.Skip("this kernel has no UDP_GRO")
	}
	from, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to := pc.LocalAddr().(*net.UDPAddr)
	block := NewBlock(3)[:20*1200+77]
	if unix.SizeofCmsghdr == 16 { // the layout that segmented knows
		if _, _, err := from.WriteMsgUDP(block, segmented(1200), to); err != nil {
			t.Fatal(err)
		}
	} else {
		for rest := block; len(rest) > 0; rest = rest[min(1200, len(rest)):] {
			if _, err := from.WriteTo(rest[:min(1200, len(rest))], to); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, last := range []string{"one", "", "two"} {
		if _, err := from.WriteTo([]byte(last), to); err != nil {
			t.Fatal(err)
		}
	}
	var got [][]byte
	for len(got) < 23 {
		ms := make([]ipv4.Message, 8)
		for i := range ms {
			ms[i].Buffers, ms[i].OOB = [][]byte{make([]byte, 1452)}, make([]byte, 128)
		}
		n, err := g.ReadBatch(ms, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms[:n] {
			if m.Addr.String() != from.LocalAddr().String() || m.NN != 0 {
				t.Errorf("from %v with %d bytes of control messages", m.Addr, m.NN)
			}
			got = append(got, m.Buffers[0][:m.N])
		}
	}
	if string(got[21]) != "one" || string(got[22]) != "two" || len(got[0]) != 1200 || len(got[20]) != 77 {
		t.Errorf("datagrams of %d and %d bytes, %q and %q", len(got[0]), len(got[20]), got[21], got[22])
	}
	if !bytes.Equal(bytes.Join(got[:21], nil), block) {
		t.Error("what came out is not what was sent")
	}
	if err := g.SetReadDeadline(Past()); err != nil {
		t.Fatal(err)
	}
	if _, err := g.ReadBatch(make([]ipv4.Message, 1), 0); probes.Classify(err) != probes.Timeout {
		t.Errorf("ended by %v, want the deadline", err)
	}
}

// BenchmarkReadBatch reads datagrams that arrived fifty at a time, as quic-go does: gathered, and by recvmmsg as without.
func BenchmarkReadBatch(b *testing.B) {
	for _, name := range []string{"gathered", "recvmmsg"} {
		b.Run(name, func(b *testing.B) {
			pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer pc.Close()
			var reader interface {
				ReadBatch(ms []ipv4.Message, flags int) (int, error)
			} = ipv4.NewPacketConn(pc)
			if name == "gathered" {
				reader = Gather(pc).(*gathered)
			}
			from, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				b.Fatal(err)
			}
			defer from.Close()
			block, control := NewBlock(1)[:50*1200], segmented(1200)
			ms := make([]ipv4.Message, 8)
			for i := range ms {
				ms[i].Buffers, ms[i].OOB = [][]byte{make([]byte, 1452)}, make([]byte, 128)
			}
			for b.Loop() {
				if _, _, err := from.WriteMsgUDP(block, control, pc.LocalAddr().(*net.UDPAddr)); err != nil {
					b.Fatal(err)
				}
				for n := 0; n < 50; {
					k, err := reader.ReadBatch(ms, 0)
					if err != nil {
						b.Fatal(err)
					}
					n += k
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/50, "ns/datagram")
		})
	}
}
